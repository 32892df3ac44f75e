using System.Globalization;
using LowRank.Diffusion.Samplers;
using LowRank.Text;

namespace LowRank.Recipes;

/// <summary>What pictures to make, with what, and where to.</summary>
public sealed record GenerateOptions
{
    /// <summary>The base model: <c>icons-64</c> (embedded) or a folder in the diffusers layout.</summary>
    public required string Model { get; init; }

    /// <summary>Adapters to attach, each with a strength.</summary>
    public IReadOnlyList<AdapterUse> Adapters { get; init; } = [];

    /// <summary>Learned tokens (textual inversion) that prompts may name. Those that an adapter's file holds can be named without being listed here.</summary>
    public IReadOnlyList<EmbeddingUse> Embeddings { get; init; } = [];

    /// <summary>What the pictures should show.</summary>
    public required string Prompt { get; init; }

    /// <summary>What they should not show. Unset: the family's empty prompt.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>What brackets in prompts mean, and what becomes of prompts that are longer than the model's window.</summary>
    public PromptWeights PromptWeights { get; init; } = PromptWeights.A1111;

    /// <summary>Way of walking back from noise.</summary>
    public string Sampler { get; init; } = "ddim";

    /// <summary>Sampler steps; time grows with it.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Guidance scale (Ho and Salimans 2022): how strongly the prompt rules; 1 is off and halves the time.</summary>
    public double Guidance { get; init; } = 5;

    /// <summary>Pulls guided pictures back to the contrast of unguided ones (Lin et al. 2023, §3.4); 0 is off, 0.7 is usual.</summary>
    public double GuidanceRescale { get; init; }

    /// <summary>Which layer of the text encoders the model reads, counted from the end: 1 the last, as usual; as <c>training.clip_skip</c> of a recipe.</summary>
    public int ClipSkip { get; init; } = 1;

    /// <summary>Seed of the first picture; the next ones count up.</summary>
    public long Seed { get; init; }

    /// <summary>How many pictures.</summary>
    public int Count { get; init; } = 1;

    /// <summary>Pixels. Unset: what the model was made for, or the size of <see cref="Image"/>.</summary>
    public int? Width { get; init; }

    /// <summary>Pixels. Unset: what the model was made for, or the size of <see cref="Image"/>.</summary>
    public int? Height { get; init; }

    /// <summary>A picture to start from.</summary>
    public string? Image { get; init; }

    /// <summary>How much of the start picture is replaced: 0 nothing, 1 all.</summary>
    public double NoiseStrength { get; init; } = 0.75;

    /// <summary>A picture that is white where <see cref="Image"/> shall be painted anew.</summary>
    public string? Mask { get; init; }

    /// <summary>Folder for the pictures; made when absent.</summary>
    public required string Output { get; init; }

    /// <summary>Arithmetic of the model.</summary>
    public Training.Precision Precision { get; init; } = Training.Precision.Fp32;

    /// <summary>Attach what fits of adapters that have keys for modules this model lacks, instead of refusing them.</summary>
    public bool AllowUnmatched { get; init; }

    /// <summary>All problems of these options, each as <c>option: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(!string.IsNullOrWhiteSpace(Model), $"model: empty; must be icons-64 or a model folder");
        Check(!string.IsNullOrWhiteSpace(Output), $"output: empty; must be a folder");
        Check(Steps >= 1, $"steps: {Steps}; must be 1 or more");
        Check(ClipSkip >= 1, $"clip-skip: {ClipSkip}; must be 1 (the last layer) or more");
        Check(Count >= 1, $"count: {Count}; must be 1 or more");
        Check(Guidance is >= 1 and < double.PositiveInfinity, $"guidance: {Guidance}; must be 1 (off) or more");
        Check(GuidanceRescale is >= 0 and <= 1, $"guidance-rescale: {GuidanceRescale}; must be between 0 (off) and 1");
        Check(NoiseStrength is > 0 and <= 1, $"noise-strength: {NoiseStrength}; must be above 0, up to 1");
        Check(Mask is null || Image is not null, $"mask: needs a picture to paint on; give --image too");
        Check(Width is null or > 0, $"width: {Width}; must be 1 or more pixels");
        Check(Height is null or > 0, $"height: {Height}; must be 1 or more pixels");
        foreach (var use in Adapters) Check(double.IsFinite(use.Strength), $"adapter: {use.File} has strength {use.Strength}; must be a number");
        problems.AddRange(PromptProblems());
        if (SamplerCatalog.ProblemOf(Sampler) is { } problem) problems.Add($"sampler: {problem}");
        return problems;
    }

    private IEnumerable<string> PromptProblems()
    {
        if (PromptWeights == PromptWeights.None) yield break;
        foreach (var (name, text) in new[] { ("prompt", Prompt), ("negative-prompt", NegativePrompt) })
        {
            if (text is not null && WeightedPrompt.Unsupported(text) is { } problem) yield return $"{name}: {problem}";
        }
    }
}

/// <summary>How prompts are read.</summary>
public enum PromptWeights
{
    /// <summary>
    /// As AUTOMATIC1111's web UI does, and what is made for it expects: <c>(word)</c> counts 1.1 times, <c>(word:1.3)</c> 1.3 times, <c>[word]</c> 1/1.1 times,
    /// <c>BREAK</c> begins another chunk; long prompts are read in chunks. A backslash before a bracket makes it text.
    /// </summary>
    A1111,

    /// <summary>As they stand, brackets included, and cut where the model's window ends, as diffusers does.</summary>
    None,
}

/// <summary>A file with a learned token, and what to call it.</summary>
/// <param name="File">The embedding: A1111, sd-scripts, diffusers or SDXL form.</param>
/// <param name="Token">The word in prompts; null for the name that the file gives, else its file name.</param>
public sealed record EmbeddingUse(string File, string? Token = null)
{
    /// <summary>Reads <c>FILE</c> or <c>FILE=TOKEN</c>; an equals sign in the name of a file that exists belongs to the name.</summary>
    public static EmbeddingUse Parse(string text)
    {
        var equals = text.LastIndexOf('=');
        return equals <= 0 || System.IO.File.Exists(text) ? new EmbeddingUse(text) : new EmbeddingUse(text[..equals], text[(equals + 1)..]);
    }
}

/// <summary>An adapter file and how strongly it works.</summary>
/// <param name="File">The adapter.</param>
/// <param name="Strength">1 as trained, 0 not at all; negative takes away.</param>
public sealed record AdapterUse(string File, double Strength = 1)
{
    /// <summary>Reads <c>FILE</c> or <c>FILE=STRENGTH</c>; an equals sign that no number follows belongs to the name.</summary>
    public static AdapterUse Parse(string text)
    {
        var equals = text.LastIndexOf('=');
        return equals > 0 && double.TryParse(text[(equals + 1)..], NumberStyles.Float, CultureInfo.InvariantCulture, out var strength)
            ? new AdapterUse(text[..equals], strength)
            : new AdapterUse(text);
    }
}
