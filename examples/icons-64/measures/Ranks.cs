namespace LowRank.Examples.Icons;

/// <summary>Where the right pictures come when all are sorted by their distance to what was drawn.</summary>
/// <param name="Top1">Share in the first place, 0 to 1.</param>
/// <param name="Top5">Share among the first five.</param>
/// <param name="Top20">Share among the first twenty.</param>
/// <param name="MedianRank">The middle place; the first is 1.</param>
internal sealed record Ranks(double Top1, double Top5, double Top20, double MedianRank)
{
    /// <summary>From places.</summary>
    public static Ranks Of(IReadOnlyList<int> places)
    {
        var sorted = places.Order().ToList();
        double Share(int most) => (double)places.Count(place => place <= most) / places.Count;
        return new Ranks(Share(1), Share(5), Share(20), (sorted[(places.Count - 1) / 2] + sorted[places.Count / 2]) / 2.0);
    }

    /// <summary>The place of the right picture, by squared distance; one that equals it does not come before it.</summary>
    /// <param name="drawn">The numbers that stand for what was drawn.</param>
    /// <param name="all">The same for all pictures.</param>
    /// <param name="right">Which one is right.</param>
    public static int Place(float[] drawn, IReadOnlyList<float[]> all, int right)
    {
        var limit = Distance(drawn, all[right]);
        return 1 + all.Count(other => Distance(drawn, other) < limit);
    }

    private static double Distance(float[] one, float[] other)
    {
        var sum = 0.0;
        for (var i = 0; i < one.Length; i++) sum += (one[i] - other[i]) * (one[i] - other[i]);
        return sum;
    }
}
