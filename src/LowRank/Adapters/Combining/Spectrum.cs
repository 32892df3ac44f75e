using static TorchSharp.torch;

namespace LowRank.Adapters.Combining;

/// <summary>
/// Singular values and directions of a matrix M, or the largest of them: M ≈ U · diag(S) · Vᵀ. Rank r of it is the nearest matrix of rank r
/// to M (Eckart and Young 1936). Its tensors lie in the scope in which it was made.
/// </summary>
/// <param name="U">(m, k), columns of length 1 at right angles.</param>
/// <param name="S">(k), descending, 0 or more.</param>
/// <param name="Vt">(k, n), rows of length 1 at right angles.</param>
/// <param name="Norm">‖M‖ (Frobenius), of all of it.</param>
/// <param name="IsWhole">Whether no value but zeros is left out.</param>
internal sealed record Spectrum(Tensor U, double[] S, Tensor Vt, double Norm, bool IsWhole)
{
    /// <summary>Of a matrix (m, n) of any float type: all min(m, n) values, computed in its type.</summary>
    public static Spectrum Of(Tensor matrix)
    {
        var (u, s, vt) = linalg.svd(matrix, fullMatrices: false);
        return new Spectrum(u, Numbers(s), vt, NormOf(matrix), IsWhole: true);
    }

    /// <summary>
    /// Of up · down without forming it: QR of both factors and the decomposition of the small core between them, in float64.
    /// It has min(m, n, r) values; further ones are 0.
    /// </summary>
    /// <param name="up">(m, r), any float type.</param>
    /// <param name="down">(r, n)</param>
    public static Spectrum OfProduct(Tensor up, Tensor down)
    {
        var (left, a) = linalg.qr(up.to(ScalarType.Float64));
        var (right, b) = linalg.qr(down.to(ScalarType.Float64).t());
        var (u, s, vt) = linalg.svd(a.mm(b.t()), fullMatrices: false);
        var values = Numbers(s);
        return new Spectrum(left.mm(u), values, vt.mm(right.t()), Math.Sqrt(values.Sum(value => value * value)), IsWhole: true);
    }

    /// <summary>
    /// The largest values of a matrix, by random projection (Halko, Martinsson and Tropp 2011, arXiv:0909.4061, algorithms 4.4 and 5.1): the columns
    /// of (M Mᵀ)^q M Ω, made orthogonal after every product, span nearly what the leading directions span; M is decomposed within them.
    /// More columns than asked for, and more rounds, bring it nearer to the exact ones; a matrix whose rank is at most <paramref name="count"/> is found whole.
    /// </summary>
    /// <param name="matrix">(m, n) float32.</param>
    /// <param name="count">How many, 1 or more.</param>
    /// <param name="generator">Draws Ω, on the CPU.</param>
    public static Spectrum Largest(Tensor matrix, int count, Generator generator)
    {
        const int Rounds = 3;
        var least = (int)Math.Min(matrix.shape[0], matrix.shape[1]);
        var columns = Math.Min(least, count + Math.Max(10, count / 2));
        var basis = Orthogonal(matrix.mm(randn([matrix.shape[1], columns], ScalarType.Float32, generator: generator)));
        for (var round = 0; round < Rounds; round++)
        {
            using var inner = NewDisposeScope();
            var other = Orthogonal(matrix.t().mm(basis));
            basis = Orthogonal(matrix.mm(other)).MoveToOuterDisposeScope();
        }
        var (u, s, vt) = linalg.svd(basis.t().mm(matrix), fullMatrices: false);   // (columns, n)
        var kept = Math.Min(count, columns);
        return new Spectrum(basis.mm(u.narrow(1, 0, kept)), Numbers(s)[..kept], vt.narrow(0, 0, kept), NormOf(matrix), IsWhole: kept == least);
    }

    /// <summary>‖x‖ (Frobenius) of a matrix (m, n): rows in their type, their lengths in float64.</summary>
    public static double NormOf(Tensor x)
    {
        using var scope = NewDisposeScope();
        return x.norm(1).to(ScalarType.Float64).norm().item<double>();
    }

    /// <summary>The nearest product of a rank: all of S in up, as other tools write it.</summary>
    /// <param name="rank">0 to the count of values.</param>
    /// <returns>down (r, n) and up (m, r), of the type of <see cref="U"/>.</returns>
    public (Tensor Down, Tensor Up) Factors(int rank) =>
        (Vt.narrow(0, 0, rank), U.narrow(1, 0, rank).mul(tensor(S[..rank], U.dtype)));

    /// <summary>Share of ‖M‖² that the first values hold: 0 to 1; 1 of a matrix of zeros.</summary>
    public double Energy(int rank) => Norm == 0 ? 1 : Math.Min(1, S.Take(rank).Sum(value => value * value) / (Norm * Norm));

    private static Tensor Orthogonal(Tensor x) => linalg.qr(x).Q;

    private static double[] Numbers(Tensor s) => s.to(ScalarType.Float64).data<double>().ToArray();
}
