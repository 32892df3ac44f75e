using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Text;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>A tokenizer, and the CLIP text encoder that reads its ids. The encoder is loaded at first use.</summary>
internal sealed class PromptEncoder : IDisposable
{
    private const string WithProjection = "CLIPTextModelWithProjection";
    private readonly string configPath;
    private readonly LayerFactory placement;
    private readonly LazyPart<ClipTextModel> model;
    private readonly ClipTokenizer plain;
    private readonly bool projection;
    private IReadOnlyList<Tensor> placed = [];

    /// <param name="folder">The model.</param>
    /// <param name="suffix">"" or "_2".</param>
    /// <param name="projection">Whether the family needs a projection.</param>
    /// <param name="placement">Device and base dtype.</param>
    public PromptEncoder(ModelFiles folder, string suffix, bool projection, LayerFactory placement)
    {
        this.placement = placement;
        Part = "text_encoder" + suffix;
        var kind = projection ? folder.Weights(Part, WithProjection) : folder.Weights(Part, "CLIPTextModel", WithProjection);
        this.projection = kind == WithProjection;
        TokenizerName = "tokenizer" + suffix;
        (var json, configPath) = folder.Configuration(Part);
        Config = ClipTextConfig.Parse(json, configPath);
        model = new LazyPart<ClipTextModel>(() => Load(folder));
        if (folder.Words is { } words && !folder.HasTokenizer(TokenizerName)) Built = Build(words());
        Tokenizer = plain = Built?.Open(TokenizerName) ?? OpenTokenizer(folder);
    }

    /// <summary>The encoder's name as a part: text_encoder, text_encoder_2.</summary>
    public string Part { get; }

    /// <summary>The tokenizer's folder in the model.</summary>
    public string TokenizerName { get; }

    /// <summary>The tokenizer where it was built, because the model had none; else null.</summary>
    public BuiltTokenizer? Built { get; }

    /// <summary>The encoder's configuration.</summary>
    public ClipTextConfig Config { get; }

    /// <summary>The encoder; loads it.</summary>
    public ClipTextModel Model => model.Value;

    /// <summary>The tokenizer, learned tokens included.</summary>
    public ClipTokenizer Tokenizer { get; private set; }

    /// <summary>Longest prompt in tokens, start and end included.</summary>
    public int PromptLength => Tokenizer.MaximumLength ?? Config.MaxPositionEmbeddings;

    /// <summary>Ids of prompts, padded or cut to <see cref="PromptLength"/>: (B, T) int64, on the CPU. The caller owns it.</summary>
    public Tensor Tokenize(IReadOnlyList<string> prompts)
    {
        var ids = prompts.SelectMany(prompt => Tokenizer.EncodePadded(prompt, PromptLength, out _)).Select(id => (long)id).ToArray();
        return tensor(ids, prompts.Count, PromptLength);
    }

    /// <summary>Prompts in windows of the encoder: as many as each needs, with weights from its brackets (see <see cref="WeightedPrompt"/>); or one, cut, with the prompt as it stands.</summary>
    public IReadOnlyList<IReadOnlyList<PromptChunk>> Chunks(IReadOnlyList<string> prompts, bool weighted) =>
        [.. prompts.Select(prompt => weighted ? PromptChunk.Of(Tokenizer, prompt, PromptLength) : [PromptChunk.Literal(Tokenizer, prompt, PromptLength)])];

    /// <summary>
    /// What the denoiser reads of prompts in chunks, side by side, each weighed: the vectors of every token are multiplied by its weight, then all of the chunk so that their mean
    /// is what it was (AUTOMATIC1111's web UI, modules/sd_hijack_clip.py and sd_emphasis.py). Chunks without weights stay as they are, to the bit.
    /// </summary>
    /// <param name="prompts">Chunks of each.</param>
    /// <param name="count">How many chunks come out; prompts with fewer go on with empty ones.</param>
    /// <param name="read">Takes (B, T, C) out of the states.</param>
    /// <returns>(B, count · T, C), and the projected text of the first chunks (B, P), null for an encoder without; in the base dtype. The caller owns them.</returns>
    public (Tensor Hidden, Tensor? Projected) Encode(IReadOnlyList<IReadOnlyList<PromptChunk>> prompts, int count, Func<ClipTextStates, Tensor> read)
    {
        using var scope = NewDisposeScope();
        var empty = PromptChunk.Empty(Tokenizer, PromptLength);
        var parts = new List<Tensor>();
        Tensor? projected = null;
        for (var place = 0; place < count; place++)
        {
            var chunks = prompts.Select(chunks => place < chunks.Count ? chunks[place] : empty).ToList();
            using var states = Encode(IdsOf(chunks));
            if (place == 0) projected = states.Projected?.alias();
            parts.Add(Weigh(read(states), chunks));
        }
        projected?.MoveToOuterDisposeScope();
        return ((parts is [var only] ? only : cat([.. parts], 1)).MoveToOuterDisposeScope(), projected);
    }

    /// <summary>States of prompts as they stand, in the base dtype. The caller owns them.</summary>
    public ClipTextStates Encode(IReadOnlyList<string> prompts)
    {
        using var ids = Tokenize(prompts);
        return Encode(ids);
    }

    /// <param name="ids">(B, T) int64, on the CPU.</param>
    private ClipTextStates Encode(Tensor ids)
    {
        using var scope = NewDisposeScope();
        var states = Model.call(ids.to(placement.Device));
        foreach (var state in states.Hidden) state.MoveToOuterDisposeScope();
        states.Last.MoveToOuterDisposeScope();
        states.Pooled.MoveToOuterDisposeScope();
        states.Projected?.MoveToOuterDisposeScope();
        return states;
    }

    /// <summary>(B, T) int64, on the CPU.</summary>
    private Tensor IdsOf(List<PromptChunk> chunks) =>
        tensor(chunks.SelectMany(chunk => chunk.Ids).Select(id => (long)id).ToArray(), chunks.Count, PromptLength);

    private Tensor Weigh(Tensor states, List<PromptChunk> chunks)
    {
        if (chunks.TrueForAll(chunk => chunk.IsPlain)) return states;
        var weights = tensor(chunks.SelectMany(chunk => chunk.Weights).ToArray(), [chunks.Count, PromptLength, 1], device: placement.Device);
        var wide = states.to(ScalarType.Float32);   // a mean in bfloat16 would have three digits
        var weighed = wide * weights;
        return (weighed * (wide.mean() / weighed.mean())).to(states.dtype);
    }

    /// <summary>Puts learned tokens behind the model's own, in place of those put before; those without vectors for this encoder are left as text.</summary>
    /// <exception cref="OptionsException">A token that the vocabulary has already, or vectors of another size. What was placed before stays.</exception>
    public void Place(IReadOnlyList<LearnedToken> tokens)
    {
        var own = tokens.Where(token => token.Vectors.ContainsKey(Part)).Select(token => (token.Text, Rows: token.Vectors[Part])).ToList();
        foreach (var (text, rows) in own.Where(token => token.Rows.dim() != 2 || token.Rows.size(1) != Config.HiddenSize))
        {
            throw new OptionsException(Invariant($"the vectors of {text} are {Shapes.Show(rows.shape)}, but {Part} of this model has vectors of {Config.HiddenSize}: they were learned on another base model; in {configPath}"));
        }
        Tokenizer = PlaceholderTokens.Add(plain, [.. own.Select(token => (token.Text, (int)token.Rows.size(0)))]);
        placed = [.. own.Select(token => token.Rows)];
        if (model.IsLoaded) model.Value.Place(plain.IdCount, placed);
    }

    /// <summary>The vectors of a text's own tokens in the table: (n, C) float32. The caller owns them.</summary>
    public Tensor VectorsOf(string text)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var ids = PlaceholderTokens.IdsOf(plain, text).Select(id => (long)id).ToArray();
        return Model.TokenTable.index_select(0, tensor(ids, device: placement.Device)).to(ScalarType.Float32).clone().MoveToOuterDisposeScope();
    }

    /// <summary>The mean length of the vectors in the table.</summary>
    public double MeanVectorNorm()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        return Model.TokenTable.to(ScalarType.Float32).norm(1).mean().item<float>();
    }

    /// <summary>What of a prompt does not fit, or null.</summary>
    public CutPrompt? Cut(string prompt)
    {
        Tokenizer.EncodePadded(prompt, PromptLength, out var cut);
        return cut;
    }

    /// <summary>Whether it is in memory.</summary>
    public bool IsLoaded => model.IsLoaded;

    /// <summary>The encoder without memory.</summary>
    public ClipTextModel WithoutWeights() => new(Config, projection, LayerFactory.Meta);

    /// <summary>Gives the encoder random weights in place of those in its file, as CLIP's begin.</summary>
    public void Draw(Generator generator)
    {
        model.Replace(DrawnNetwork.Of(WithoutWeights(), generator, placement.Type, placement.Device, Config.InitialDeviation));
        model.Value.Place(plain.IdCount, placed);
    }

    /// <summary>Lets the encoder go; the tokenizer is small and stays.</summary>
    public void Release() => model.Release();

    /// <inheritdoc/>
    public void Dispose() => model.Dispose();

    private ClipTextModel Load(ModelFiles folder)
    {
        var loaded = WithoutWeights();
        using var weights = folder.OpenWeights(Part);
        weights.LoadInto(loaded, ClipTextModel.KeyOf, placement.Type, placement.Device);
        loaded.eval();
        loaded.Place(plain.IdCount, placed);
        return loaded;
    }

    /// <summary>A tokenizer for the encoder's table and its longest prompt, whose end token is the one that the encoder pools at.</summary>
    private BuiltTokenizer Build(IReadOnlyDictionary<string, long> words)
    {
        if (Config.VocabSize < BuiltTokenizer.FewestIds) throw new CheckpointException(Invariant($"vocab_size is {Config.VocabSize}, and a tokenizer has {BuiltTokenizer.FewestIds} ids before its first merge; in {configPath}; set vocab_size to {BuiltTokenizer.FewestIds} or more"));
        var built = BuiltTokenizer.Of(words, Config.VocabSize, Config.MaxPositionEmbeddings);
        var opened = built.Open(TokenizerName);
        if (Config.EosTokenId == opened.EndId || Config.EosTokenId == ClipTextModel.LargestId) return built;
        throw new CheckpointException(Invariant($"eos_token_id is {Config.EosTokenId}, but the tokenizer that is built from the captions ends prompts with id {opened.EndId}; in {configPath}; ")
            + Invariant($"set vocab_size to {opened.IdCount}, bos_token_id to {opened.StartId}, eos_token_id and pad_token_id to {opened.EndId}"));
    }

    private ClipTokenizer OpenTokenizer(ModelFiles folder)
    {
        var opened = folder.OpenTokenizer(TokenizerName);
        if (opened.IdCount > Config.VocabSize)
        {
            throw new CheckpointException(Invariant($"vocab_size is {Config.VocabSize}, but the tokenizer has ids up to {opened.IdCount - 1}; in {configPath}; ")
                + $"take text encoder and tokenizer ({opened.Source}) from the same model");
        }
        if (opened.MaximumLength > Config.MaxPositionEmbeddings)
        {
            throw new CheckpointException(Invariant($"max_position_embeddings is {Config.MaxPositionEmbeddings}, but the tokenizer's model_max_length is {opened.MaximumLength}; in {configPath}; ")
                + $"take text encoder and tokenizer ({opened.Source}) from the same model");
        }
        return opened;
    }
}
