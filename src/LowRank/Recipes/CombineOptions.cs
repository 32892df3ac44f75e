using System.Globalization;

namespace LowRank.Recipes;

/// <summary>How several adapters become one.</summary>
public enum CombineMethod
{
    /// <summary>The factors stand beside each other: the sum of all ΔW exactly, at the sum of all ranks. LoRA only.</summary>
    Concat,

    /// <summary>The nearest sum that a rank can hold, or the least rank that comes as near as asked: singular values of the sum.</summary>
    Svd,

    /// <summary>The plain sum of all ΔW, exact to 1e-6 of its length, in as few ranks as hold it.</summary>
    Linear,

    /// <summary>TIES-Merging (arXiv:2306.01708): small numbers are set to 0, a sign is elected for each, those that have it are averaged.</summary>
    Ties,

    /// <summary>DARE (arXiv:2311.03099): numbers are dropped by chance, the others grow, and all are added; with a sign rule, averaged as TIES does.</summary>
    Dare,

    /// <summary>Small numbers are set to 0, the others added.</summary>
    Magnitude,
}

/// <summary>How TIES finds the sign of a number from those of all files.</summary>
public enum SignRule
{
    /// <summary>That of their sum: large numbers have more say.</summary>
    Total,

    /// <summary>The more frequent one.</summary>
    Frequency,
}

/// <summary>Which adapters become one, how, and where to.</summary>
public sealed record CombineOptions
{
    /// <summary>Adapters of any convention, each with a weight in place of the strength; 0 leaves it out of a sum, negative takes it away.</summary>
    public required IReadOnlyList<AdapterUse> Inputs { get; init; }

    /// <summary>The <c>.safetensors</c> file to write, with sd-scripts' keys; never one of the inputs.</summary>
    public required string Output { get; init; }

    /// <summary>How.</summary>
    public CombineMethod Method { get; init; } = CombineMethod.Concat;

    /// <summary>Largest rank of a layer, 1 or more: for what is approximated. Time does not depend on it.</summary>
    public int? Rank { get; init; }

    /// <summary>Largest ‖ΔW − wanted‖ / ‖wanted‖ of a layer, above 0 and below 1, instead of a rank.</summary>
    public double? Error { get; init; }

    /// <summary>TIES, DARE, magnitude: share of the numbers that is kept, above 0 to 1. Unset: 0.5.</summary>
    public double? Density { get; init; }

    /// <summary>TIES and DARE: how a sign is elected. Unset: <see cref="SignRule.Total"/> for TIES, none for DARE.</summary>
    public SignRule? Sign { get; init; }

    /// <summary>
    /// Merges the factors instead of the changes that they make, as PEFT's <c>linear</c>, <c>ties</c>, <c>dare_linear</c>, <c>dare_ties</c> and <c>magnitude_prune</c>
    /// do: needs one rank, keeps it, and gives products across files, so not the sum of what they change.
    /// </summary>
    public bool Factors { get; init; }

    /// <summary>Of DARE's chance.</summary>
    public long Seed { get; init; }

    /// <summary>Element type of the file. Unset: the widest of the inputs'.</summary>
    public SavePrecision? Precision { get; init; }

    /// <summary>The base that the adapters are for: needed where it is none of the published ones, and for DoRA, whose change depends on its weights.</summary>
    public string? Model { get; init; }

    private bool Thins => Method is CombineMethod.Ties or CombineMethod.Dare or CombineMethod.Magnitude;

    /// <summary>Whether the result is to be the weighted sum of the changes.</summary>
    internal bool IsSum => !Thins && !Factors;

    /// <summary>All problems of these options, each as <c>option: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        var word = Method.ToString().ToLowerInvariant();
        Check(Inputs.Count > 0, $"inputs: none; give at least one adapter");
        foreach (var input in Inputs) Check(double.IsFinite(input.Strength), $"inputs: {input.File} has weight {input.Strength}; must be a number");
        Check(Inputs.Count == 0 || Inputs.Any(input => input.Strength != 0), $"inputs: every weight is 0; nothing would be left");
        Check(Output.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase), $"output: \"{Output}\"; must be a file that ends in .safetensors");
        Check(Rank is null or >= 1, $"rank: {Rank}; must be 1 or more");
        Check(Error is null or (> 0 and < 1), $"error: {Error}; must be above 0 and below 1");
        Check(Rank is null || Error is null, $"error: {Error}; a rank is given too: give one of them");
        Check(Method != CombineMethod.Concat || (Rank is null && Error is null), $"rank: concat keeps every rank; use svd for fewer");
        Check(!Factors || (Rank is null && Error is null), $"rank: merged factors keep their rank; leave rank and error away");
        Check((Method != CombineMethod.Svd && !Thins) || Factors || Rank is not null || Error is not null, $"rank: {word} needs a rank or an error");
        Check(!Factors || Method is not (CombineMethod.Concat or CombineMethod.Svd), $"factors: does nothing with {word}; for linear, ties, dare and magnitude");
        Check(Density is null || Thins, $"density: {Density}; does nothing with {word}; for ties, dare and magnitude");
        Check(Density is null or (> 0 and <= 1), $"density: {Density}; must be above 0, up to 1");
        Check(Sign is null || Method is CombineMethod.Ties or CombineMethod.Dare, $"sign: does nothing with {word}; for ties and dare");
        return problems;
    }
}
