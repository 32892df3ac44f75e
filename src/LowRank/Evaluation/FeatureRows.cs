using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>What several measures do with features: float64, unit length, blocks of rows. Results belong to the caller.</summary>
internal static class FeatureRows
{
    /// <summary>So many rows of a matrix of all pairs are held at once: 40 MB in float64 for 10,000 columns.</summary>
    public const int AtOnce = 512;

    /// <summary>Every row brought to length 1.</summary>
    /// <param name="features">[n, d] of a float type.</param>
    /// <returns>[n, d] float64.</returns>
    /// <exception cref="ArgumentException">A row is all zeros and so has no direction.</exception>
    public static Tensor ToUnit(Tensor features)
    {
        using var scope = NewDisposeScope();
        var rows = Shapes.Require(features, "n,d").to(ScalarType.Float64);
        var lengths = rows.Squared().sum(1, keepdim: true).sqrt();   // (n, 1)
        var empty = lengths.IsEqualTo(0).sum().item<long>();
        if (empty > 0) throw new ArgumentException(Invariant($"{empty} of {rows.size(0)} features are all zeros and have no direction"), nameof(features));
        return (rows / lengths).MoveToOuterDisposeScope();
    }

    /// <summary>Calls <paramref name="visit"/> with every block of rows and the number of its first row, in order; what it makes is disposed behind it.</summary>
    public static void Visit(Tensor rows, Action<Tensor, long> visit)
    {
        for (long first = 0; first < rows.size(0); first += AtOnce)
        {
            using var scope = NewDisposeScope();
            visit(rows.narrow(0, first, Math.Min(AtOnce, rows.size(0) - first)), first);
        }
    }

    /// <summary>|x|² of every row, (n) float64, without a second matrix of the features' size.</summary>
    public static Tensor SquaredLengths(Tensor x)
    {
        using var scope = NewDisposeScope();
        return x.unsqueeze(1).matmul(x.unsqueeze(2)).reshape(x.size(0)).MoveToOuterDisposeScope();
    }

    /// <summary>Squared distances by |x|² + |y|² - 2xy: off by rounding, up to 1e-11 of |x|² + |y|², so copies are not at 0 exactly but never below it.</summary>
    /// <param name="x">(m, d) float64.</param>
    /// <param name="y">(n, d) float64.</param>
    /// <returns>(m, n) float64.</returns>
    public static Tensor SquaredDistances(Tensor x, Tensor y)
    {
        using var scope = NewDisposeScope();
        var lengths = SquaredLengths(x).unsqueeze(1).Plus(SquaredLengths(y));   // (m, n)
        return lengths.sub_(x.matmul(y.transpose(0, 1)).MultiplyInPlace(2)).AtLeastInPlace(0).MoveToOuterDisposeScope();
    }
}
