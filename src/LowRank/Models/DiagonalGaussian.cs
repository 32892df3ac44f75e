using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Models;

/// <summary>
/// What a variational autoencoder says of a picture: an independent normal distribution for every latent (Kingma and Welling 2014, appendix B).
/// Owns its tensors.
/// </summary>
internal sealed class DiagonalGaussian : IDisposable
{
    private const double SmallestLogVariance = -30, LargestLogVariance = 20;

    /// <summary>Splits an encoder's output. No gradient passes where the logarithm of the variance is cut to [-30, 20].</summary>
    /// <param name="moments">(B, 2C, h, w): means, then logarithms of variances.</param>
    internal DiagonalGaussian(Tensor moments)
    {
        using var scope = NewDisposeScope();
        var halves = moments.chunk(2, 1);
        Mean = halves[0].DetachFromDisposeScope();
        LogVariance = halves[1].Within(SmallestLogVariance, LargestLogVariance).DetachFromDisposeScope();
    }

    /// <summary>(B, C, h, w), not scaled; also the most likely latents.</summary>
    public Tensor Mean { get; }

    /// <summary>(B, C, h, w), in [-30, 20].</summary>
    public Tensor LogVariance { get; }

    /// <summary>Mean + standard deviation · noise.</summary>
    /// <param name="noise">Like <see cref="Mean"/>, standard normal.</param>
    /// <returns>(B, C, h, w), not scaled.</returns>
    public Tensor Sample(Tensor noise)
    {
        using var scope = NewDisposeScope();
        return Mean.Plus(StandardDeviation() * noise).MoveToOuterDisposeScope();
    }

    /// <summary>(B, C, h, w), fresh.</summary>
    public Tensor StandardDeviation()
    {
        using var half = LogVariance.Times(0.5);
        return half.exp();
    }

    /// <summary>(B, C, h, w), fresh.</summary>
    public Tensor Variance() => LogVariance.exp();

    /// <summary>Kullback-Leibler divergence from the standard normal distribution: ½ Σ (mean² + variance - 1 - log variance).</summary>
    /// <returns>(B), not negative.</returns>
    public Tensor KlDivergence()
    {
        using var scope = NewDisposeScope();
        return HalfSum(Mean.Squared().Plus(Variance()).Minus(1) - LogVariance).MoveToOuterDisposeScope();
    }

    /// <summary>Kullback-Leibler divergence from another distribution: ½ Σ ((m₁ - m₂)² / v₂ + v₁ / v₂ - 1 - log v₁ + log v₂).</summary>
    /// <param name="other">Of the same shape.</param>
    /// <returns>(B), not negative.</returns>
    public Tensor KlDivergence(DiagonalGaussian other)
    {
        using var scope = NewDisposeScope();
        var variance = other.Variance();
        return HalfSum((((Mean - other.Mean).Squared() / variance).Plus(Variance() / variance).Minus(1) - LogVariance).Plus(other.LogVariance)).MoveToOuterDisposeScope();
    }

    /// <summary>-log of the density at given latents: ½ Σ (log 2π + log variance + (x - mean)² / variance).</summary>
    /// <param name="latents">Like <see cref="Mean"/>, not scaled.</param>
    /// <returns>(B).</returns>
    public Tensor NegativeLogLikelihood(Tensor latents)
    {
        using var scope = NewDisposeScope();
        return HalfSum(((latents - Mean).Squared() / Variance()).Plus(LogVariance).Plus(Math.Log(2 * Math.PI))).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Mean.Dispose();
        LogVariance.Dispose();
    }

    /// <summary>(B, C, h, w) to (B).</summary>
    private static Tensor HalfSum(Tensor terms) => terms.flatten(1).sum(1).Times(0.5);
}
