using LowRank.Adapters.Kinds;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>
/// ΔW of one module of a file at strength 1, to be compared with another's: as a product of two thin matrices where its kind makes it so, else whole, with what is added to
/// the bias as one more column. All in float64.
/// Its tensors belong to the dispose scope in which it was made.
/// </summary>
internal sealed class ModuleChange
{
    private readonly Tensor? left, right, whole;

    private ModuleChange(FileModule module, Tensor? left, Tensor? right, Tensor? whole) => (Module, this.left, this.right, this.whole) = (module, left, right, whole);

    /// <summary>The module.</summary>
    public FileModule Module { get; }

    /// <summary>Whether it is known as a product, and so by its singular values.</summary>
    public bool IsProduct => left is not null;

    /// <summary>Of a usable module.</summary>
    /// <param name="module">Its file is open.</param>
    /// <param name="layer">The layer that it fits; kinds that are no plain product need it.</param>
    /// <param name="weight">W of that layer, which some kinds need (<see cref="LayerKind.DependsOnBase"/>); of the others never read.</param>
    public static ModuleChange Of(FileModule module, ModelLayer? layer, Tensor? weight)
    {
        if (module.Kind is LoraKind)
        {
            var factors = module.ReadFactors();
            return new(module, factors["up"].to(ScalarType.Float64).flatten(1).MultiplyInPlace(module.Scale), factors["down"].to(ScalarType.Float64).flatten(1), null);
        }
        var own = module.LayerOn(layer!);
        var delta = own.DeltaOn(weight ?? LayerShape.WeightOf(layer!.Module), 1);
        delta = delta.reshape(delta.shape[0], -1);   // of a norm it has one axis
        if (own.BiasDelta(1) is { } bias) delta = cat([delta, bias.unsqueeze(1)], 1);
        return new(module, null, null, delta.to(ScalarType.Float64));
    }

    /// <summary>Singular values, largest first, as many as the rank; null where it is no product or not finite.</summary>
    public double[]? SingularValues() => left is null || right is null || !IsFinite(left) || !IsFinite(right) ? null : Values(linalg.svdvals(Core(left, right)));

    /// <summary>‖ΔW‖ (Frobenius).</summary>
    public double Norm() => Number((left is null ? whole! : Core(left, right!)).norm());

    /// <summary>The sum over all elements of the products with another's.</summary>
    public double Dot(ModuleChange other)
    {
        if (left is not null && other.left is not null) return Number(left.t().mm(other.left).mul(right!.mm(other.right!.t())).sum());   // tr(Rᵀ Lᵀ L' R') without forming either
        var (own, others) = Whole(other);
        return Number(own.mul(others).sum());
    }

    /// <summary>
    /// ‖ΔW − ΔW'‖. Of two products through the QR factors of both put side by side: a difference of squares would lose half of the digits where they are nearly equal.
    /// </summary>
    public double Distance(ModuleChange other)
    {
        if (left is null || other.left is null || left.shape[1] + other.left.shape[1] >= Math.Min(left.shape[0], right!.shape[1]))
        {
            var (own, others) = Whole(other);
            return Number(own.sub(others).norm());
        }
        return Number(Core(cat([left, other.left.neg()], 1), cat([right, other.right!], 0)).norm());
    }

    /// <summary>Whether both have the same numbers in factors and scale, so that nothing lies between them.</summary>
    public bool Equals(ModuleChange other) => left is not null && other.left is not null
        ? Same(left, other.left) && Same(right!, other.right!)
        : whole is not null && other.whole is not null && Same(whole, other.whole);

    /// <summary>Cosines of the principal angles between the spaces of inputs that the two read, largest first (Björck and Golub 1973); null where either is no product or not finite.</summary>
    public double[]? InputCosines(ModuleChange other)
    {
        if (right is null || other.right is null || !IsFinite(right) || !IsFinite(other.right)) return null;
        var (own, _) = linalg.qr(right.t());
        var (others, _) = linalg.qr(other.right.t());
        return Values(linalg.svdvals(own.t().mm(others)));
    }

    private Tensor Whole() => whole ?? left!.mm(right!);

    /// <summary>Both multiplied out, with a column of zeros for a bias that only the other has.</summary>
    private (Tensor Own, Tensor Others) Whole(ModuleChange other)
    {
        var (own, others) = (Whole(), other.Whole());
        var columns = Math.Max(own.shape[1], others.shape[1]);
        return (Padded(own, columns), Padded(others, columns));
    }

    private static Tensor Padded(Tensor values, long columns) =>
        values.shape[1] == columns ? values : cat([values, zeros([values.shape[0], columns - values.shape[1]], values.dtype)], 1);

    /// <summary>A small matrix with the singular values of left · right.</summary>
    private static Tensor Core(Tensor left, Tensor right)
    {
        var (_, first) = linalg.qr(left, linalg.QRMode.R);
        var (_, second) = linalg.qr(right.t(), linalg.QRMode.R);
        return first.mm(second.t());
    }

    private static bool Same(Tensor a, Tensor b) => a.shape.SequenceEqual(b.shape) && a.equal(b).all().item<bool>();

    private static bool IsFinite(Tensor values) => values.isfinite().all().item<bool>();

    private static double Number(Tensor value) => value.item<double>();

    private static double[] Values(Tensor values) => [.. values.data<double>()];
}
