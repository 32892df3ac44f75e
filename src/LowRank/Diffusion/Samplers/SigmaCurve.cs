namespace LowRank.Diffusion.Samplers;

/// <summary>Noise levels between two ends by formula, largest first, float64.</summary>
internal static class SigmaCurve
{
    /// <summary>Evenly spaced in sigma^(1/7) (Karras et al. 2022, eq. 5).</summary>
    public static double[] Karras(double smallest, double largest, int count, double rho = 7)
    {
        var (low, high) = (Math.Pow(smallest, 1 / rho), Math.Pow(largest, 1 / rho));
        return [.. TimeGrid.Linspace(0, 1, count).Select(ramp => Math.Pow(high + ramp * (low - high), rho))];
    }

    /// <summary>Evenly spaced in log sigma.</summary>
    public static double[] Exponential(double smallest, double largest, int count) =>
        [.. TimeGrid.Linspace(Math.Log(largest), Math.Log(smallest), count).Select(Math.Exp)];

    /// <summary>By the quantiles of a Beta(0.6, 0.6) distribution: more levels at both ends (Lee et al. 2024, "Beta sampling is all you need").</summary>
    public static double[] Beta(double smallest, double largest, int count) =>
        [.. TimeGrid.Linspace(0, 1, count).Select(ramp => smallest + BetaQuantile(1 - ramp, 0.6) * (largest - smallest))];

    /// <summary>The x at which the Beta(a, a) distribution reaches a share, by bisection.</summary>
    private static double BetaQuantile(double share, double a)
    {
        if (share <= 0) return 0;
        if (share >= 1) return 1;
        if (share > 0.5) return 1 - BetaQuantile(1 - share, a);
        var normalizer = BetaShare(0.5, a) * 2;
        var (low, high) = (0.0, 0.5);
        for (var i = 0; i < 80 && low < high; i++)
        {
            var middle = (low + high) / 2;
            if (BetaShare(middle, a) / normalizer < share) low = middle;
            else high = middle;
        }
        return (low + high) / 2;
    }

    /// <summary>∫ t^(a−1) (1−t)^(a−1) dt from 0 to x, x at most ½, by the power series of (1−t)^(a−1).</summary>
    private static double BetaShare(double x, double a)
    {
        var sum = 0.0;
        var coefficient = Math.Pow(x, a);
        for (var k = 0; k < 200; k++)
        {
            sum += coefficient / (a + k);
            coefficient *= x * (k + 1 - a) / (k + 1);
            if (coefficient < sum * 1e-18) break;
        }
        return sum;
    }
}
