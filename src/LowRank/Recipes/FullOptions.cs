using System.Globalization;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>What of a model is trained whole: the recipe's <c>[full]</c>.</summary>
public sealed record FullOptions
{
    internal const string Denoiser = "unet", Encoder = "text_encoder", SecondEncoder = "text_encoder_2", Autoencoder = "vae";
    private static readonly string[] Names = [Denoiser, Encoder, SecondEncoder, Autoencoder];

    /// <summary>
    /// Parts by name: <c>unet</c>, <c>text_encoder</c>, <c>text_encoder_2</c>; with a text encoder captions are encoded in every step. Or <c>vae</c> alone, which
    /// learns to bring pictures back.
    /// </summary>
    public IReadOnlyList<string> Parts { get; init; } = [Denoiser];

    /// <summary>What the parts learn.</summary>
    public TrainingObjective Objective { get; init; } = TrainingObjective.Own;

    /// <summary>What the parts begin with. The other parts are read from the model in either case.</summary>
    public WeightStart Init { get; init; } = WeightStart.Base;

    /// <summary>With <c>init = "random"</c>: the parts that begin so; the others that learn go on from the model's weights. Empty: all parts.</summary>
    public IReadOnlyList<string> RandomParts { get; init; } = [];

    /// <summary>
    /// More words for the tokenizer that is built from the captions where the model has none, with <c>init = "random"</c>; each counts twice wherever it stands.
    /// </summary>
    public IReadOnlyList<string> Words { get; init; } = [];

    /// <summary>Step size of the text encoders at the top of the schedule. Unset: that of <c>[training]</c>.</summary>
    public double? TextEncoderLearningRate { get; init; }

    /// <summary>Text encoders among the parts.</summary>
    internal IEnumerable<string> Encoders => Parts.Where(part => part is Encoder or SecondEncoder);

    /// <summary>Whether the autoencoder is what learns.</summary>
    internal bool IsAutoencoder => Parts is [Autoencoder];

    /// <summary>Whether a text encoder learns by itself to tell pictures.</summary>
    internal bool TellsPictures => Objective == TrainingObjective.BlurredPicture;

    /// <summary>Whether the denoiser takes part, learning or not.</summary>
    internal bool Denoises => !IsAutoencoder && !TellsPictures;

    /// <summary>Parts that begin with random weights.</summary>
    internal IReadOnlyList<string> Drawn => Init != WeightStart.Random ? [] : RandomParts.Count > 0 ? RandomParts : Parts;

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        if (Parts.Count == 0) problems.Add($"parts: empty; must be one or more of {string.Join(", ", Names)}");
        for (var i = 0; i < Parts.Count; i++)
        {
            if (!Names.Contains(Parts[i])) problems.Add($"parts[{i}]: \"{Parts[i]}\" is none of {string.Join(", ", Names)}{NearestName.Hint(Parts[i], Names)}");
            else if (Parts.Take(i).Contains(Parts[i])) problems.Add($"parts[{i}]: {Parts[i]} is there twice");
        }
        if (Parts.Contains(Autoencoder) && Parts.Count > 1) problems.Add($"parts: {string.Join(", ", Parts)}; {Autoencoder} is trained by itself, and first: a denoiser learns the latents that it makes");
        if (TellsPictures && Parts is not [Encoder]) problems.Add($"objective: blurred-picture; is for parts = [\"{Encoder}\"] alone");
        if (RandomParts.Count > 0 && Init != WeightStart.Random) problems.Add("random_parts: does nothing without init = \"random\"");
        for (var i = 0; i < RandomParts.Count; i++)
        {
            if (!Parts.Contains(RandomParts[i])) problems.Add($"random_parts[{i}]: \"{RandomParts[i]}\" does not learn, and is read from the model: parts has {string.Join(", ", Parts)}{NearestName.Hint(RandomParts[i], Parts)}");
            else if (RandomParts.Take(i).Contains(RandomParts[i])) problems.Add($"random_parts[{i}]: {RandomParts[i]} is there twice");
        }
        if (Words.Count > 0 && Init != WeightStart.Random) problems.Add("words: do nothing without init = \"random\"");
        for (var i = 0; i < Words.Count; i++)
        {
            if (Words[i].Trim().Length == 0 || Words[i].Trim().Any(char.IsWhiteSpace)) problems.Add($"words[{i}]: \"{Words[i]}\"; must be one word");
        }
        if (TextEncoderLearningRate is { } rate)
        {
            if (rate is not (> 0 and < double.PositiveInfinity)) problems.Add(string.Create(CultureInfo.InvariantCulture, $"text_encoder_learning_rate: {rate}; must be a number above 0"));
            if (!Encoders.Any()) problems.Add(string.Create(CultureInfo.InvariantCulture, $"text_encoder_learning_rate: {rate}; does nothing without a text encoder in parts"));
        }
        return problems;
    }
}

/// <summary>What whole parts of a model learn.</summary>
public enum TrainingObjective
{
    /// <summary>Their part in the model: the denoiser to take noise away, text encoders what helps it, the autoencoder to bring pictures back.</summary>
    Own,
    /// <summary>For a text encoder by itself, before there is a denoiser: to tell from a caption the blurred latents of its picture.</summary>
    BlurredPicture,
}

/// <summary>What trained parts begin with.</summary>
public enum WeightStart
{
    /// <summary>The weights of the model.</summary>
    Base,
    /// <summary>Random weights, as the libraries that the parts come from draw them: training from scratch. The model needs only configurations.</summary>
    Random,
}

/// <summary>How a whole model is written: the recipe's <c>[save]</c> with <c>method = "full"</c>.</summary>
public sealed record ModelSaveOptions
{
    /// <summary>Element type of the weights of all parts, trained or not.</summary>
    public SavePrecision Precision { get; init; } = SavePrecision.Fp16;

    /// <summary>Where <c>training.ema_decay</c> keeps a moving average: writes it, and draws previews with it. If not, the weights as trained.</summary>
    public bool Ema { get; init; } = true;

    /// <summary>Writes the whole model at every save, of which <c>training.keep</c> stay. If not, saves hold what a resume needs, and the model is written at the end.</summary>
    public bool Intermediate { get; init; }
}
