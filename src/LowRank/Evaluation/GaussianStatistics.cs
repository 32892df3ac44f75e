using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>
/// Mean and covariance of features that arrive in batches, in float64. Batches are merged by their own means (Chan, Golub, LeVeque, 1979), so nothing is
/// lost to large sums of squares. Owns its tensors.
/// </summary>
/// <param name="dimension">Numbers a feature has.</param>
internal sealed class GaussianStatistics(long dimension) : IDisposable
{
    private readonly Tensor mean = zeros(dimension, ScalarType.Float64).DetachFromDisposeScope();
    private readonly Tensor products = zeros(dimension, dimension, ScalarType.Float64).DetachFromDisposeScope();   // sum of outer products around the mean

    /// <summary>Features seen so far.</summary>
    public long Count { get; private set; }

    /// <summary>(d) float64; stays this object's and changes with the next batch.</summary>
    public Tensor Mean => mean;

    /// <summary>Statistics of one set that is at hand whole.</summary>
    /// <param name="features">[n, d] of a float type.</param>
    public static GaussianStatistics Of(Tensor features)
    {
        var statistics = new GaussianStatistics(Shapes.Require(features, "n,d").size(1));
        FeatureRows.Visit(features, (rows, _) => statistics.Add(rows));
        return statistics;
    }

    /// <summary>Takes one batch in.</summary>
    /// <param name="features">[n, d] of a float type, n at least 1.</param>
    public void Add(Tensor features)
    {
        using var scope = NewDisposeScope();
        var batch = Shapes.Require(features, Invariant($"n,{dimension}")).to(ScalarType.Float64);
        var added = batch.size(0);
        var ownMean = batch.mean([0]);
        var centred = batch - ownMean;
        var step = ownMean - mean;
        var total = Count + added;
        products.AddInPlace(centred.transpose(0, 1).matmul(centred)).AddInPlace(outer(step, step).Times((double)Count * added / total));
        mean.AddInPlace(step.Times((double)added / total));
        Count = total;
    }

    /// <summary>(d, d) float64, divisor n - 1; the caller owns it.</summary>
    /// <exception cref="InvalidOperationException">Fewer than two features were seen.</exception>
    public Tensor Covariance() => Count >= 2 ? products.Over(Count - 1) : throw new InvalidOperationException(Invariant($"a covariance needs 2 features, there are {Count}"));

    /// <inheritdoc/>
    public void Dispose()
    {
        mean.Dispose();
        products.Dispose();
    }
}
