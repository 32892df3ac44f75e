using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>Which mean of the kernel's values is taken. They differ in what becomes of the pairs of a feature with itself.</summary>
internal enum KidEstimator
{
    /// <summary>Without the pairs of a feature with itself inside a set, with all pairs between the sets. The one to report; it may be negative.</summary>
    Unbiased,

    /// <summary>With all pairs. Never negative, and larger the fewer pictures there are.</summary>
    Biased,
}

/// <summary>KID over subsets.</summary>
/// <param name="PerSubset">The value of every subset, in their order.</param>
internal sealed record KidSpread(IReadOnlyList<double> PerSubset)
{
    /// <summary>Mean over the subsets.</summary>
    public double Mean => PerSubset.Average();

    /// <summary>Population standard deviation over the subsets (divisor: their number), as the field reports it. It is no error of the mean: subsets share pictures.</summary>
    public double Deviation => Math.Sqrt(PerSubset.Average(value => (value - Mean) * (value - Mean)));
}

/// <summary>
/// Kernel inception distance: the squared maximum mean discrepancy of two sets of features with the kernel (x·y / d + 1)³.
/// Source: Bińkowski and others, "Demystifying MMD GANs", 2018, equation 4 and section 4.
/// Features are [n, d] float32, or any float type; everything inside is float64, since float32 products are off by 3e-5.
/// </summary>
internal static class KernelInceptionDistance
{
    /// <summary>KID of two whole sets.</summary>
    /// <param name="real">[m, d], m at least 2 (1 for <see cref="KidEstimator.Biased"/>).</param>
    /// <param name="generated">[n, d], likewise.</param>
    /// <param name="estimator">Which mean.</param>
    /// <exception cref="ArgumentException">Shapes do not fit, a set is too small, or the sizes differ where they must not.</exception>
    public static double Of(Tensor real, Tensor generated, KidEstimator estimator = KidEstimator.Unbiased)
    {
        using var scope = NewDisposeScope();
        Shapes.Require(real, "m,d");
        Shapes.Require(generated, Invariant($"n,{real.size(1)}"));
        var (m, n) = ((double)real.size(0), (double)generated.size(0));
        if (m < 2 || n < 2) throw new ArgumentException(Invariant($"KID needs 2 features of each set, there are {m} and {n}"), nameof(real));
        var (x, y) = (real.to(ScalarType.Float64), generated.to(ScalarType.Float64));
        var (within, among, between) = (KernelSum(x, x), KernelSum(y, y), KernelSum(x, y));
        if (estimator == KidEstimator.Biased) return within / (m * m) + among / (n * n) - 2 * between / (m * n);
        return (within - PairSum(x, x)) / (m * (m - 1)) + (among - PairSum(y, y)) / (n * (n - 1)) - 2 * between / (m * n);
    }

    /// <summary>
    /// KID of pictures that were drawn for real ones, with their captions: as unbiased, and without the pairs of one caption, between the sets and among the drawn ones,
    /// which depend on each other. With one picture for each it is the U statistic.
    /// </summary>
    /// <param name="real">[m, d], m at least 2.</param>
    /// <param name="generated">[m · copies, d]: the copies of the first, of the second, and so on.</param>
    /// <param name="copies">Pictures drawn for each, at least 1.</param>
    /// <exception cref="ArgumentException">Shapes do not fit, or there are fewer than 2 of a set.</exception>
    public static double Paired(Tensor real, Tensor generated, int copies)
    {
        using var scope = NewDisposeScope();
        Shapes.Require(real, "m,d");
        var (m, n) = (real.size(0), real.size(0) * copies);
        if (m < 2) throw new ArgumentException(Invariant($"KID needs 2 features of each set, there are {m} real ones"), nameof(real));
        Shapes.Require(generated, Invariant($"{n},{real.size(1)}"));
        var (x, y) = (real.to(ScalarType.Float64), generated.to(ScalarType.Float64));
        var within = (KernelSum(x, x) - PairSum(x, x)) / (m * (m - 1.0));
        var groups = y.view(m, copies, -1);
        var among = (KernelSum(y, y) - Kernel(groups.bmm(groups.transpose(1, 2)), y.size(1)).sum().item<double>()) / (n * (double)(n - copies));
        return within + among - 2 * (KernelSum(x, y) - PairSum(x.repeat_interleave(copies, 0), y)) / (n * (m - 1.0));
    }

    /// <summary>KID (unbiased) of random subsets, drawn without repetition: of the first set, then of the second, subset by subset.</summary>
    /// <param name="real">[m, d].</param>
    /// <param name="generated">[n, d].</param>
    /// <param name="subsets">How many, at least 1.</param>
    /// <param name="size">Features of each set in a subset, 2 to the smaller set's size.</param>
    /// <param name="seed">Of the random stream "subsets".</param>
    /// <exception cref="ArgumentException">Shapes do not fit, or a subset has more features than a set.</exception>
    public static KidSpread OverSubsets(Tensor real, Tensor generated, int subsets, int size, long seed)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(subsets, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 2);
        if (size > real.size(0) || size > generated.size(0))
        {
            throw new ArgumentException(Invariant($"a subset of {size} cannot be drawn from {real.size(0)} real and {generated.size(0)} generated features"), nameof(size));
        }
        using var scope = NewDisposeScope();
        using var streams = new RandomStreams(seed);
        var generator = streams["subsets"];
        var (first, second) = (new List<Tensor>(), new List<Tensor>());
        for (var subset = 0; subset < subsets; subset++)
        {
            first.Add(randperm(real.size(0), ScalarType.Int64, generator: generator)[..size]);
            second.Add(randperm(generated.size(0), ScalarType.Int64, generator: generator)[..size]);
        }
        return OverSubsets(real, generated, stack(first), stack(second));
    }

    /// <summary>KID (unbiased) of given subsets.</summary>
    /// <param name="real">[m, d].</param>
    /// <param name="generated">[n, d].</param>
    /// <param name="realIndices">[subsets, size] int64: rows of <paramref name="real"/>.</param>
    /// <param name="generatedIndices">[subsets, another size] int64: rows of <paramref name="generated"/>.</param>
    /// <exception cref="ArgumentException">Shapes do not fit.</exception>
    public static KidSpread OverSubsets(Tensor real, Tensor generated, Tensor realIndices, Tensor generatedIndices)
    {
        Shapes.Require(realIndices, "subsets,size");
        Shapes.Require(generatedIndices, Invariant($"{realIndices.size(0)},size"));
        var values = new double[realIndices.size(0)];
        for (var subset = 0; subset < values.Length; subset++)
        {
            using var scope = NewDisposeScope();
            values[subset] = Of(real.index_select(0, realIndices[subset]), generated.index_select(0, generatedIndices[subset]));
        }
        return new KidSpread(values);
    }

    /// <summary>The sum of k(x_i, y_j) over all pairs; (m, d) and (n, d) float64.</summary>
    private static double KernelSum(Tensor x, Tensor y)
    {
        var sum = 0.0;
        FeatureRows.Visit(x, (rows, _) => sum += Kernel(rows.matmul(y.transpose(0, 1)), x.size(1)).sum().item<double>());
        return sum;
    }

    /// <summary>The sum of k(x_i, y_i): the diagonal.</summary>
    private static double PairSum(Tensor x, Tensor y)
    {
        using var scope = NewDisposeScope();
        return Kernel((x * y).sum(1), x.size(1)).sum().item<double>();
    }

    /// <summary>Writes over the products: they are the largest thing in memory.</summary>
    private static Tensor Kernel(Tensor products, long dimension) => products.DivideInPlace(dimension).AddInPlace(1).PowerInPlace(3);
}
