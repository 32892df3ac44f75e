using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>
/// Fréchet distance of the normal distributions that have the means and covariances of two sets of features:
/// |m1 - m2|² + Tr S1 + Tr S2 - 2 Tr sqrt(S1 S2). Source: Heusel and others, 2017 ("GANs trained by a two time-scale update rule").
/// It depends on the number of pictures: values of different counts cannot be compared. Nothing is added to the diagonals, which other tools do where
/// their square root fails: the two routes here never do.
/// </summary>
internal static class FrechetInceptionDistance
{
    /// <summary>By the exact and cheap route where a set has no more pictures than features have numbers, else by covariances.</summary>
    /// <param name="real">[m, d] of a float type, m at least 2.</param>
    /// <param name="generated">[n, d], n at least 2.</param>
    public static double Of(Tensor real, Tensor generated)
    {
        Shapes.Require(real, "m,d");
        Shapes.Require(generated, Invariant($"n,{real.size(1)}"));
        if (Math.Min(real.size(0), generated.size(0)) <= real.size(1)) return OfFew(real, generated);
        using var first = GaussianStatistics.Of(real);
        using var second = GaussianStatistics.Of(generated);
        return Of(first, second);
    }

    /// <summary>From statistics: Tr sqrt(S1 S2) is the sum of the square roots of the eigenvalues of sqrt(S1) S2 sqrt(S1), which is symmetric.</summary>
    public static double Of(GaussianStatistics real, GaussianStatistics generated)
    {
        using var scope = NewDisposeScope();
        var (first, second) = (real.Covariance(), generated.Covariance());
        var (values, vectors) = linalg.eigh(first);
        var root = (vectors * values.AtLeast(0).sqrt()).matmul(vectors.transpose(0, 1));   // rounding leaves eigenvalues a little below 0
        var product = root.matmul(second).matmul(root);
        var trace = linalg.eigvalsh(product.Plus(product.transpose(0, 1)).Over(2)).AtLeast(0).sqrt().sum().item<double>();
        return (real.Mean - generated.Mean).Squared().sum().item<double>() + first.trace().item<double>() + second.trace().item<double>() - 2 * trace;
    }

    /// <summary>
    /// From the features: Tr sqrt(S1 S2) is the nuclear norm of C1 C2ᵀ / sqrt((m - 1)(n - 1)) with the centred features C, an m × n matrix in place of
    /// d × d ones, exact also where covariances are singular.
    /// </summary>
    /// <param name="real">[m, d] of a float type, m at least 2.</param>
    /// <param name="generated">[n, d], n at least 2.</param>
    public static double OfFew(Tensor real, Tensor generated)
    {
        using var scope = NewDisposeScope();
        var (m, n) = (real.size(0), generated.size(0));
        if (m < 2 || n < 2) throw new ArgumentException(Invariant($"FID needs 2 features of each set, there are {m} and {n}"), nameof(real));
        var (first, second) = (real.to(ScalarType.Float64), generated.to(ScalarType.Float64));
        var (firstMean, secondMean) = (first.mean([0]), second.mean([0]));
        var (firstCentred, secondCentred) = ((first - firstMean).Over(Math.Sqrt(m - 1)), (second - secondMean).Over(Math.Sqrt(n - 1)));
        var trace = linalg.svdvals(firstCentred.matmul(secondCentred.transpose(0, 1))).sum().item<double>();
        return (firstMean - secondMean).Squared().sum().item<double>() + firstCentred.Squared().sum().item<double>() + secondCentred.Squared().sum().item<double>() - 2 * trace;
    }
}
