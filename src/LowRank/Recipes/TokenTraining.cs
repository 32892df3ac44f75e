using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Training;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What the methods that learn tokens share: starting vectors, captions that hold the words, and the words in the model.</summary>
internal static class TokenTraining
{
    /// <summary>The 2022 package's factor on the learning rate in its norm rule.</summary>
    private const double NormRuleSpeed = 100;

    /// <summary>Problems of the tokens of a recipe.</summary>
    public static IEnumerable<string> Problems(IReadOnlyList<LearnedTokenOptions> tokens, CaptionTemplate template, double tokenNorm)
    {
        if (tokens.Count == 0) yield return "tokens: empty; add at least one [[tokens]] table with the word to learn";
        for (var i = 0; i < tokens.Count; i++)
        {
            foreach (var problem in tokens[i].Validate()) yield return $"tokens[{i}].{problem}";
            if (template != CaptionTemplate.Captions && tokens[i].Replaces is not null) yield return $"tokens[{i}].replaces: {tokens[i].Replaces}; does nothing with template = \"{RecipeFile.Word(template.ToString())}\", which takes the place of captions";
        }
        if (tokenNorm is not (>= 0 and < double.PositiveInfinity)) yield return Invariant($"token_norm: {tokenNorm}; must be 0 (off) or more");
    }

    /// <summary>Problems of training options that a method with learned tokens would not honour.</summary>
    /// <param name="training">The recipe's.</param>
    /// <param name="tokenNorm">The recipe's.</param>
    /// <param name="withAdapter">Whether it trains an adapter too.</param>
    public static IEnumerable<string> Problems(TrainingOptions training, double tokenNorm, bool withAdapter)
    {
        var scheduleFree = training.Optimizer == OptimizerKind.AdamwScheduleFree;
        if (scheduleFree && withAdapter) yield return "training.optimizer: adamw-schedule-free; not for method = \"pivotal\", whose second phase begins with the words as the first one left them: take adamw";
        else if (scheduleFree && tokenNorm > 0) yield return "training.optimizer: adamw-schedule-free; not with token_norm, which moves the values that it averages: take adamw";
        if (training.EmaDecay > 0 && tokenNorm > 0) yield return Invariant($"training.ema_decay: {training.EmaDecay}; not with token_norm: the average would hold vectors from before that rule");
        if (withAdapter) yield break;
        if (training.LoraplusLrRatio != 1) yield return Invariant($"training.loraplus_lr_ratio: {training.LoraplusLrRatio}; does nothing without an adapter");
        if (training.Rates.Count > 0) yield return "training.rates: do nothing without an adapter";
    }

    /// <summary>The pictures, with the words in their texts.</summary>
    /// <exception cref="OptionsException">A word is in no text, so that nothing would be learned.</exception>
    public static TrainingData ReadData(IRunOptions options, IReadOnlyList<LearnedTokenOptions> tokens, CaptionTemplate template, IDiffusionFamily family, CancellationToken cancellation = default)
    {
        var data = RunOptions.ReadData(options, family, [.. options.Data.Select(set => set.Prior ? set : set with { Replacements = Replacements(tokens, template) })], cancellation);
        if (template != CaptionTemplate.Captions) return data;
        var texts = data.Images.SelectMany(image => image.Caption.Split('\n').Select(line => Captions.Plain(line, image.Options.CaptionRules))).Distinct().ToList();
        for (var i = 0; i < tokens.Count; i++)
        {
            var word = tokens[i].Token.Trim();
            if (texts.Exists(text => text.Contains(word, StringComparison.OrdinalIgnoreCase))) continue;
            throw new OptionsException($"tokens[{i}].token: no caption holds {word}, so nothing would be learned; put it there with suffix = \"{word}\" in [[data]] or with replaces = \"a text of the captions\", or take template = \"object\" or \"style\"");
        }
        return data;
    }

    /// <summary>Where the vectors begin, for every text encoder of the model. The tensors live in the caller's scope.</summary>
    /// <param name="tokens">Valid.</param>
    /// <param name="family">The model.</param>
    /// <param name="init">Draws vectors without words, on the CPU.</param>
    /// <exception cref="OptionsException">Words that are not as many tokens as there are vectors.</exception>
    public static IReadOnlyList<TokenStart> Starts(IReadOnlyList<LearnedTokenOptions> tokens, IDiffusionFamily family, Generator init)
    {
        using var quiet = no_grad();
        return [.. tokens.SelectMany((token, index) => family.ComponentNames.Skip(1).Select(part => new TokenStart(token.Token.Trim(), part, Start(token, index, part, family, init))))];
    }

    /// <summary>Puts the words into the model's prompts and text encoders.</summary>
    public static void Place(this IDiffusionFamily family, EmbeddingSet tokens) => family.Place([.. tokens.Tokens.Select(token => new LearnedToken(token.Token, token.Vectors))]);

    /// <summary>The 2022 package's norm rule, after an update; does nothing where it is off.</summary>
    /// <param name="tokens">The vectors.</param>
    /// <param name="norm">The length they are pulled to; 0 is off.</param>
    /// <param name="learningRate">Of the update that was made: the share is 100 times it, at most 1.</param>
    public static void PullNorms(EmbeddingSet tokens, double norm, double learningRate)
    {
        if (norm > 0) tokens.PullNorms(norm, Math.Min(1, NormRuleSpeed * learningRate));
    }

    /// <summary>A file for each token, in a folder of the run.</summary>
    public static IReadOnlyList<string> WriteEach(RunFolder folder, EmbeddingSet tokens, EmbeddingSaveOptions save, IReadOnlyDictionary<string, string> facts)
    {
        var paths = new List<string>();
        foreach (var token in tokens.Tokens)
        {
            var (name, ending) = (EmbeddingWriter.FileName(token.Token), EmbeddingWriter.Ending(save.Format));
            var path = folder.Embedding(name + ending);
            for (var i = 2; paths.Contains(path); i++) path = folder.Embedding(Invariant($"{name}-{i}{ending}"));
            paths.Add(path);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            EmbeddingWriter.Write(path, token, save.Format, AdapterFacts.TypeOf(save.Precision), facts);
        }
        return paths;
    }

    private static IReadOnlyList<CaptionReplacement> Replacements(IReadOnlyList<LearnedTokenOptions> tokens, CaptionTemplate template)
    {
        if (template == CaptionTemplate.Captions) return [.. tokens.Where(token => token.Replaces is not null).Select(token => new CaptionReplacement(token.Replaces!, token.Token.Trim()))];
        var words = string.Join(' ', tokens.Select(token => token.Token.Trim()));
        var texts = template == CaptionTemplate.Object ? CaptionTemplates.Object : CaptionTemplates.Style;
        return [new CaptionReplacement("", "") { OneOf = [.. texts.Select(text => text.Replace("{}", words, StringComparison.Ordinal))] }];
    }

    /// <summary>(vectors, C) float32.</summary>
    private static Tensor Start(LearnedTokenOptions token, int index, string part, IDiffusionFamily family, Generator init)
    {
        if (token.Init is null)
        {
            using var known = family.TokenVectors(part, "a");
            var drawn = randn([token.Vectors, known.size(1)], ScalarType.Float32, generator: init);
            return (drawn / drawn.norm(1, keepdim: true)).Times(family.MeanTokenNorm(part));
        }
        var words = family.TokenVectors(part, token.Init);   // (k, C)
        if (token.InitMean) words = words.mean([0], keepdim: true);
        if (words.size(0) == token.Vectors) return words;
        if (words.size(0) == 1) return words.repeat(token.Vectors, 1);
        throw new OptionsException(Invariant($"tokens[{index}].init: \"{token.Init}\" is {words.size(0)} tokens for {part} of this model, and {token.Token} has {token.Vectors} vector{(token.Vectors == 1 ? "" : "s")}; give one word, or vectors = {words.size(0)}, or init_mean = true"));
    }
}
