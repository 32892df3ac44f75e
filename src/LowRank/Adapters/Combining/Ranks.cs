namespace LowRank.Adapters.Combining;

/// <summary>How many singular values are kept: rules on values in descending order. What is asked for may be more than there are; nobody needs less than 1.</summary>
internal static class Ranks
{
    /// <summary>The fewest whose rest is at most a share of the whole: ‖M − M_r‖ ≤ error · ‖M‖.</summary>
    /// <param name="spectrum">All values, or the largest.</param>
    /// <param name="error">0 to 1.</param>
    /// <returns>Null where the values do not reach so far.</returns>
    public static int? WithinError(Spectrum spectrum, double error) => WithinSquare(spectrum, error * error);

    /// <summary>The fewest that hold a share of the energy: Σ kept σ² ≥ energy · Σ σ².</summary>
    public static int? WithEnergy(Spectrum spectrum, double energy) => WithinSquare(spectrum, 1 - energy);

    /// <summary>Those above a number (LyCORIS' threshold); at least 1. Null where the values do not reach so far.</summary>
    public static int? Above(Spectrum spectrum, double threshold)
    {
        var count = spectrum.S.Count(value => value > threshold);
        return count == spectrum.S.Length && !spectrum.IsWhole ? null : Math.Max(1, count);
    }

    /// <summary>Those above a share of the largest (LyCORIS' ratio).</summary>
    public static int? AboveShare(Spectrum spectrum, double ratio) => Above(spectrum, spectrum.S[0] * ratio);

    /// <summary>Those whose sum, the own included, stays below a share of the sum of all (LyCORIS' quantile); at least 1. Needs all values.</summary>
    public static int BelowSum(double[] values, double share)
    {
        var (most, sum, count) = (values.Sum() * share, 0.0, 0);
        while (count < values.Length && (sum += values[count]) < most) count++;
        return Math.Max(1, count);
    }

    /// <summary>By a rule of sd-scripts' networks/resize_lora.py for the values of up · down without its scale.</summary>
    /// <param name="values">All of them, descending.</param>
    /// <param name="least">The smaller side of the matrix: so many values it would have, those beyond zero.</param>
    /// <param name="index">The rule: how many of the values it takes.</param>
    /// <returns>One more than the rule takes, as there: 2 at least, but 1 for a matrix of zeros.</returns>
    public static int Resized(double[] values, int least, Func<double[], int> index) =>
        values[0] <= 1e-6 ? 1 : Math.Max(1, Math.Min(index([.. values, .. new double[Math.Max(0, least - values.Length)]]), least - 1)) + 1;

    /// <summary>Values above the largest, divided by a number.</summary>
    public static int SvRatio(double[] values, double ratio) => values.Count(value => value > values[0] / ratio);

    /// <summary>Until the root of their squares' sum reaches a share of that of all.</summary>
    public static int SvFro(double[] values, double share) => UntilShare([.. values.Select(value => value * value)], share * share);

    /// <summary>Until their sum reaches a share of that of all.</summary>
    public static int SvCumulative(double[] values, double share) => UntilShare(values, share);

    private static int UntilShare(double[] values, double share)
    {
        var (whole, sum, place) = (values.Sum(), 0.0, 0);
        while (place < values.Length && (sum += values[place]) / whole < share) place++;
        return place + 1;
    }

    private static int? WithinSquare(Spectrum spectrum, double share)
    {
        var (s, whole) = (spectrum.S, spectrum.Norm * spectrum.Norm);
        // what the largest values leave is a difference of nearly equal numbers; of all values nothing is left
        var rest = spectrum.IsWhole ? 0 : Math.Max(0, whole - s.Sum(value => value * value));
        if (rest > share * whole) return null;
        var rank = s.Length;
        while (rank > 1 && rest + s[rank - 1] * s[rank - 1] <= share * whole) rest += s[--rank] * s[rank];
        return rank;
    }
}
