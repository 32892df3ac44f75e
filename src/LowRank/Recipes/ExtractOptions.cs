using System.Globalization;

namespace LowRank.Recipes;

/// <summary>How a difference is decomposed.</summary>
public enum SvdMethod
{
    /// <summary>Randomized where that is much less work than exact, else exact.</summary>
    Auto,

    /// <summary>All singular values (LAPACK).</summary>
    Exact,

    /// <summary>The largest by random projection (Halko, Martinsson and Tropp 2011, arXiv:0909.4061): far less work for small ranks of large layers.</summary>
    Randomized,
}

/// <summary>Which models an adapter is extracted from, at what rank, and where to. One of rank, energy, threshold, ratio and quantile says how many singular values are kept.</summary>
public sealed record ExtractOptions
{
    /// <summary>The model that the adapter will be used on: a folder in the layout of diffusers, a checkpoint of one file in the original layout, or icons-64.</summary>
    public required string Base { get; init; }

    /// <summary>The model that shall come of it: the same networks with other weights.</summary>
    public required string Tuned { get; init; }

    /// <summary>The <c>.safetensors</c> file to write, with sd-scripts' keys.</summary>
    public required string Output { get; init; }

    /// <summary>As many of every layer, 1 or more; fewer where a layer is narrower.</summary>
    public int? Rank { get; init; }

    /// <summary>The fewest that hold this share of a layer's Σσ², above 0 and below 1.</summary>
    public double? Energy { get; init; }

    /// <summary>Those above a number, above 0 (LyCORIS' <c>threshold</c>).</summary>
    public double? Threshold { get; init; }

    /// <summary>Those above a share of the layer's largest, between 0 and 1 (LyCORIS' <c>ratio</c>).</summary>
    public double? Ratio { get; init; }

    /// <summary>Those whose sum stays below a share of the layer's Σσ, between 0 and 1 (LyCORIS' <c>quantile</c>).</summary>
    public double? Quantile { get; init; }

    /// <summary>Most of a convolution with a kernel larger than 1×1; 0 leaves those out, as sd-scripts does unless told. Unset: as the other layers.</summary>
    public int? ConvRank { get; init; }

    /// <summary>Cuts the largest numbers of the factors off at this quantile, 0.5 to 1; 0.99 is what the package of 2022 and sd-scripts do. Unset: leaves them. It costs part of the change.</summary>
    public double? Clamp { get; init; }

    /// <summary>Leaves out layers where no number differs by more than this, 0 or more: rounding of a text encoder that was not trained.</summary>
    public double MinDiff { get; init; }

    /// <summary>How. On layers of Stable Diffusion 1.5, at rank 32, random projection takes a half to a twelfth of the time (bench/RESULTS.md).</summary>
    public SvdMethod Method { get; init; } = SvdMethod.Auto;

    /// <summary>Of the random projections.</summary>
    public long Seed { get; init; }

    /// <summary>Element type of the file.</summary>
    public SavePrecision Precision { get; init; } = SavePrecision.Fp16;

    /// <summary>Networks to compare: unet, text_encoder, text_encoder_2. Empty: all that the base has.</summary>
    public IReadOnlyList<string> Parts { get; init; } = [];

    /// <summary>Folder with configurations in the layout of diffusers for a checkpoint of one file. Unset: those of the other model where that is a folder, else told by the shapes of its tensors.</summary>
    public string? Config { get; init; }

    /// <summary>All problems of these options, each as <c>option: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(!string.IsNullOrWhiteSpace(Base), $"base: empty; must name a folder, a file or icons-64");
        Check(!string.IsNullOrWhiteSpace(Tuned), $"tuned: empty; must name a folder, a file or icons-64");
        Check(Output.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase), $"output: \"{Output}\"; must be a file that ends in .safetensors");
        var rules = new object?[] { Rank, Energy, Threshold, Ratio, Quantile }.Count(rule => rule is not null);
        Check(rules == 1, $"rank: {(rules == 0 ? "nothing says how much to keep" : "several rules say how much to keep")}; give one of rank, energy, threshold, ratio and quantile");
        Check(Rank is null or >= 1, $"rank: {Rank}; must be 1 or more");
        foreach (var (name, share) in new[] { ("energy", Energy), ("ratio", Ratio), ("quantile", Quantile) }) Check(share is null or (> 0 and < 1), $"{name}: {share}; must be above 0 and below 1");
        Check(Threshold is null or (> 0 and < double.PositiveInfinity), $"threshold: {Threshold}; must be above 0");
        Check(ConvRank is null or >= 0, $"conv-rank: {ConvRank}; must be 1 or more, or 0 to leave such convolutions out");
        Check(Clamp is null or (>= 0.5 and <= 1), $"clamp: {Clamp}; must be between 0.5 and 1, such as 0.99");
        Check(MinDiff is >= 0 and < double.PositiveInfinity, $"min-diff: {MinDiff}; must be 0 or more");
        Check(Quantile is null || Method != SvdMethod.Randomized, $"quantile: {Quantile}; needs all singular values; leave method randomized away");
        foreach (var part in Parts) Check(part is "unet" or "text_encoder" or "text_encoder_2", $"parts: {part}; must be of unet, text_encoder and text_encoder_2");
        return problems;
    }
}
