using System.Globalization;

namespace LowRank.Recipes;

/// <summary>Which adapter gets other ranks, by which rule, and where to. The rules are those of sd-scripts' <c>resize_lora.py</c>.</summary>
public sealed record ResizeOptions
{
    /// <summary>A LoRA of any convention.</summary>
    public required string Input { get; init; }

    /// <summary>The <c>.safetensors</c> file to write, with sd-scripts' keys; never the input.</summary>
    public required string Output { get; init; }

    /// <summary>Rank of every layer; with one of the rules below the largest rank. 1 or more.</summary>
    public int? Rank { get; init; }

    /// <summary>The same for convolutions, 1×1 ones too. Unset: as <see cref="Rank"/>.</summary>
    public int? ConvRank { get; init; }

    /// <summary>Keeps singular values above the largest, divided by this number, and one more; above 1.</summary>
    public double? SvRatio { get; init; }

    /// <summary>Keeps as many as hold this share of √Σσ², and one more; between 0 and 1.</summary>
    public double? SvFro { get; init; }

    /// <summary>Keeps as many as hold this share of Σσ, and one more; between 0 and 1.</summary>
    public double? SvCumulative { get; init; }

    /// <summary>Element type of the file. Unset: the input's.</summary>
    public SavePrecision? Precision { get; init; }

    /// <summary>The base that the adapter is for; needed where it is none of the published ones.</summary>
    public string? Model { get; init; }

    /// <summary>All problems of these options, each as <c>option: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(!string.IsNullOrWhiteSpace(Input), $"input: empty; must be an adapter");
        Check(Output.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase), $"output: \"{Output}\"; must be a file that ends in .safetensors");
        var rules = new[] { SvRatio, SvFro, SvCumulative }.Count(rule => rule is not null);
        Check(rules <= 1, $"rank: several rules say how much to keep; give one of sv-ratio, sv-fro and sv-cumulative");
        Check(rules > 0 || Rank is not null, $"rank: nothing says how much to keep; give rank, sv-ratio, sv-fro or sv-cumulative");
        Check(Rank is null or >= 1, $"rank: {Rank}; must be 1 or more");
        Check(ConvRank is null or >= 1, $"conv-rank: {ConvRank}; must be 1 or more");
        Check(SvRatio is null or (> 1 and < double.PositiveInfinity), $"sv-ratio: {SvRatio}; must be above 1");
        Check(SvFro is null or (> 0 and < 1), $"sv-fro: {SvFro}; must be above 0 and below 1");
        Check(SvCumulative is null or (> 0 and < 1), $"sv-cumulative: {SvCumulative}; must be above 0 and below 1");
        return problems;
    }
}
