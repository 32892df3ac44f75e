using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>
/// The effective number of different pictures in a set, 1 (all alike) to n: the exponential of the entropy of the eigenvalues of the matrix of cosines.
/// Sources: Friedman and Dieng, "The Vendi score", 2023; orders: Pasarkar and Dieng, 2024.
/// </summary>
internal static class VendiScore
{
    private const double Cut = 1e-12;   // eigenvalues below are rounding; orders below 1 would count them

    /// <summary>The score of one set.</summary>
    /// <param name="features">[n, d] of a float type, of any length.</param>
    /// <param name="order">Of the entropy: 1 is Shannon's; below 1 rare pictures count more, above 1 frequent ones; infinity looks at the most frequent alone.</param>
    /// <exception cref="ArgumentException">A feature is all zeros.</exception>
    public static double Of(Tensor features, double order = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(order);
        using var scope = NewDisposeScope();
        var rows = FeatureRows.ToUnit(features);
        var (n, d) = (rows.size(0), rows.size(1));
        var products = n < d ? rows.matmul(rows.transpose(0, 1)) : rows.transpose(0, 1).matmul(rows);   // both have the same eigenvalues but for zeros
        var values = linalg.eigvalsh(products.Over(n)).data<double>().ToArray().Where(value => value > Cut).ToArray();
        if (order == 1) return Math.Exp(-values.Sum(value => value * Math.Log(value)));
        return double.IsPositiveInfinity(order) ? 1 / values.Max() : Math.Pow(values.Sum(value => Math.Pow(value, order)), 1 / (1 - order));
    }
}
