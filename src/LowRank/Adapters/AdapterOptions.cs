using System.Globalization;

namespace LowRank.Adapters;

/// <summary>Which modules of a model get an adapter layer, and how large it is. Everything has a default.</summary>
public sealed record AdapterOptions
{
    /// <summary>Inner size r of up·down; 1 or more. Size, memory and (slightly) time of a step grow with it. Default 8.</summary>
    public int Rank { get; init; } = 8;

    /// <summary>Numerator of the scale alpha / rank; above 0. Unset: the rank, so that the scale is 1.</summary>
    public double? Alpha { get; init; }

    /// <summary>Rank of k×k convolutions (k above 1); 1 or more. Unset: <see cref="Rank"/>. Linear layers and 1×1 convolutions never use it.</summary>
    public int? ConvRank { get; init; }

    /// <summary>Alpha of k×k convolutions; above 0. Unset: <see cref="Alpha"/> where it is set, else the convolutions' own rank.</summary>
    public double? ConvAlpha { get; init; }

    /// <summary>Share of the inputs of down that training sets to zero (the rest grows by 1 / (1 - share)); 0 up to, not including, 1. Default 0.</summary>
    public double Dropout { get; init; }

    /// <summary>
    /// Presets (<c>attention</c>, <c>attention+feedforward</c>, <c>all-linear</c>, <c>all</c>: every linear layer and convolution) and path patterns,
    /// such as <c>unet:**.attn2.to_k</c>: an optional component, then module names; <c>*</c> stands for letters of one name, <c>**</c> for any names, <c>{a,b}</c> for either.
    /// A module is taken when any of them matches. Default attention.
    /// </summary>
    public IReadOnlyList<string> Targets { get; init; } = ["attention"];

    /// <summary>Other ranks and alphas for some of the target modules. The first pattern that matches a module decides.</summary>
    public IReadOnlyList<AdapterOverride> Overrides { get; init; } = [];

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(Rank >= 1, $"rank: {Rank}; must be 1 or more");
        Check(Alpha is null or (> 0 and < double.PositiveInfinity), $"alpha: {Alpha}; must be a number above 0");
        Check(ConvRank is null or >= 1, $"conv_rank: {ConvRank}; must be 1 or more (to leave convolutions out, take a target without them)");
        Check(ConvAlpha is null or (> 0 and < double.PositiveInfinity), $"conv_alpha: {ConvAlpha}; must be a number above 0");
        Check(Dropout is >= 0 and < 1, $"dropout: {Dropout}; must be 0 or more and below 1");
        Check(Targets.Count > 0, $"targets: empty; must name a preset ({string.Join(", ", TargetSelector.Presets)}) or path patterns");
        for (var i = 0; i < Targets.Count; i++) CheckPattern($"targets[{i}]", Targets[i]);
        for (var i = 0; i < Overrides.Count; i++)
        {
            var item = Overrides[i];
            CheckPattern($"overrides[{i}].pattern", item.Pattern);
            Check(item.Rank is null or >= 0, $"overrides[{i}].rank: {item.Rank}; must be 1 or more, or 0 to leave the modules out");
            Check(item.Rank is 0 || item.Alpha is null or (> 0 and < double.PositiveInfinity), $"overrides[{i}].alpha: {item.Alpha}; must be a number above 0");
            Check(item.Rank is not null || item.Alpha is not null, $"overrides[{i}]: sets neither rank nor alpha");
        }
        return problems;

        void CheckPattern(string key, string pattern)
        {
            if (PathPattern.ProblemOf(pattern) is { } problem) problems.Add($"{key}: {problem}");
        }
    }

    /// <summary>Rank and alpha of one target module.</summary>
    internal (int Rank, double Alpha) SizeOf(LayerShape shape, AdapterOverride? change)
    {
        var wide = shape.IsWideConvolution;
        var rank = change?.Rank ?? (wide ? ConvRank : null) ?? Rank;
        return (rank, change?.Alpha ?? (wide ? ConvAlpha : null) ?? Alpha ?? rank);
    }
}

/// <summary>Another rank or alpha for the target modules whose path matches a pattern.</summary>
public sealed record AdapterOverride
{
    /// <summary>Preset or path pattern, as in <see cref="AdapterOptions.Targets"/>.</summary>
    public required string Pattern { get; init; }

    /// <summary>Rank of these modules; 0 leaves them out. Unset: the rank they would have.</summary>
    public int? Rank { get; init; }

    /// <summary>Alpha of these modules. Unset: the alpha of the options where it is set, else their rank.</summary>
    public double? Alpha { get; init; }
}
