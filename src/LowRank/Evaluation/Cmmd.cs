using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>
/// CLIP maximum mean discrepancy: 1000 times the squared MMD of CLIP image embeddings of unit length with a Gaussian kernel of width 10, all pairs counted.
/// Source: Jayasumana and others, "Rethinking FID", 2024. Float64 inside: all kernel values lie in 0.98 to 1, and float32 would lose three to four digits.
/// </summary>
internal static class Cmmd
{
    private const double Width = 10;
    private const double Scale = 1000;

    /// <summary>The distance of two sets; never negative, larger the fewer pictures there are.</summary>
    /// <param name="real">[m, d] of a float type, of any length.</param>
    /// <param name="generated">[n, d].</param>
    /// <exception cref="ArgumentException">Shapes do not fit, or a feature is all zeros.</exception>
    public static double Of(Tensor real, Tensor generated)
    {
        using var scope = NewDisposeScope();
        Shapes.Require(generated, Invariant($"n,{Shapes.Require(real, "m,d").size(1)}"));
        var (x, y) = (FeatureRows.ToUnit(real), FeatureRows.ToUnit(generated));
        return Scale * (KernelMean(x, x) + KernelMean(y, y) - 2 * KernelMean(x, y));
    }

    private static double KernelMean(Tensor x, Tensor y)
    {
        var sum = 0.0;
        FeatureRows.Visit(x, (rows, _) => sum += FeatureRows.SquaredDistances(rows, y).Over(-2 * Width * Width).exp().sum().item<double>());
        return sum / ((double)x.size(0) * y.size(0));
    }
}
