using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>How two sets overlap. All but the density are shares, 0 to 1.</summary>
/// <param name="Precision">Share of the generated features inside some ball of the real set: how many look real.</param>
/// <param name="Recall">Share of the real features inside some ball of the generated set: how much of the real set is covered. A few far-off pictures can raise it.</param>
/// <param name="Density">Mean number of real balls around a generated feature, divided by k; above 1 where the generated ones crowd where real ones do.</param>
/// <param name="Coverage">Share of the real features with a generated one in their own ball.</param>
internal sealed record Overlap(double Precision, double Recall, double Density, double Coverage);

/// <summary>
/// Precision and recall (Kynkäänniemi and others, 2019), density and coverage (Naeem and others, 2020) by balls around every feature that reach to its k-th
/// nearest other feature of its own set; copies count as others.
/// </summary>
internal static class PrecisionRecall
{
    /// <summary>
    /// Distances nearer together than this share of the squared lengths are taken as equal: they come from a matrix product, where a copy in the other set
    /// would else lie inside or outside of a ball by its last bit.
    /// </summary>
    private const double Rounding = 1e-11;

    /// <summary>All four at once.</summary>
    /// <param name="real">[m, d] of a float type.</param>
    /// <param name="generated">[n, d].</param>
    /// <param name="neighbours">k: 1 to below the smaller set's size.</param>
    /// <param name="edgeInside">
    /// Whether a point at just the radius is inside. False is the rule of density and coverage and of their package, true that of precision and
    /// recall's first definition; they differ where pictures are copies.
    /// </param>
    /// <exception cref="ArgumentException">Shapes do not fit, or a set has not more than k features.</exception>
    public static Overlap Of(Tensor real, Tensor generated, int neighbours, bool edgeInside = false)
    {
        using var scope = NewDisposeScope();
        Shapes.Require(real, "m,d");
        Shapes.Require(generated, Invariant($"n,{real.size(1)}"));
        ArgumentOutOfRangeException.ThrowIfLessThan(neighbours, 1);
        var (m, n) = (real.size(0), generated.size(0));
        if (neighbours >= Math.Min(m, n)) throw new ArgumentException(Invariant($"a feature of {m} real and {n} generated ones cannot have {neighbours} neighbours in its own set"), nameof(neighbours));
        var (x, y) = (real.to(ScalarType.Float64), generated.to(ScalarType.Float64));
        var sign = edgeInside ? 1 : -1;
        var (xLengths, yLengths) = (FeatureRows.SquaredLengths(x), FeatureRows.SquaredLengths(y));
        var (realBalls, generatedBalls) = (Radii(x, neighbours), Radii(y, neighbours));
        var holders = zeros(n, ScalarType.Int64);   // real balls around each generated feature
        var (found, covered) = (0L, 0L);
        FeatureRows.Visit(x, (rows, first) =>
        {
            var distances = FeatureRows.SquaredDistances(rows, y);   // (rows, n)
            var slack = xLengths.narrow(0, first, rows.size(0)).unsqueeze(1).Plus(yLengths).MultiplyInPlace(sign * Rounding);
            var adjusted = distances.sub_(slack);
            var inReal = adjusted.lt(realBalls.narrow(0, first, rows.size(0)).unsqueeze(1));
            holders.AddInPlace(inReal.sum([0]));
            covered += inReal.any(1).sum().item<long>();
            found += adjusted.lt(generatedBalls).any(1).sum().item<long>();
        });
        return new Overlap(holders.IsAbove(0).sum().item<long>() / (double)n, found / (double)m, holders.sum().item<long>() / ((double)neighbours * n), covered / (double)m);
    }

    /// <summary>Squared distances to the k-th nearest other feature, (n): place k of the sorted ones, since place 0 is the feature itself.</summary>
    private static Tensor Radii(Tensor features, int neighbours)
    {
        var parts = new List<Tensor>();
        FeatureRows.Visit(features, (rows, _) =>
        {
            var (nearest, _) = FeatureRows.SquaredDistances(rows, features).topk(neighbours + 1, dim: 1, largest: false, sorted: true);
            parts.Add(nearest.select(1, neighbours).clone().MoveToOuterDisposeScope());
        });
        return cat(parts);
    }
}
