using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>Which library's rule limits how far an OFT turns.</summary>
internal enum RotationRule
{
    /// <summary>LyCORIS: alpha · outputs is the longest ‖Q‖ over all blocks; 0 is no limit.</summary>
    Lycoris,

    /// <summary>sd-scripts (networks/oft.py): the same, but 0 allows no turn at all.</summary>
    SdScripts,
}

/// <summary>Rotations of groups of outputs, as OFT and BOFT keep them: Q = B - Bᵀ of each block B, R = (I + Q)(I - Q)⁻¹ (Cayley).</summary>
internal static class Rotations
{
    /// <summary>The parameters.</summary>
    public const string Blocks = "oft_blocks", Rescale = "rescale";

    // both libraries add it to the norm
    private const double Epsilon = 1e-8;

    /// <summary>R - I, without the loss of digits that a difference would have: 2Q (I - Q)⁻¹.</summary>
    /// <param name="blocks">B: (…, n, n), any float type.</param>
    /// <param name="limit">Longest ‖Q‖ over all blocks together.</param>
    /// <param name="rule">What limits, and how.</param>
    /// <returns>As <paramref name="blocks"/>, float32.</returns>
    public static Tensor Turn(Tensor blocks, double limit, RotationRule rule)
    {
        var wide = blocks.to(ScalarType.Float64);
        var q = wide.sub(wide.transpose(-1, -2));
        var length = q.norm().item<double>();
        if (rule == RotationRule.SdScripts) q = q.Times((Math.Min(length, limit) + Epsilon) / (length + Epsilon));
        else if (limit > 0 && length + Epsilon > limit) q = q.Times(limit / (length + Epsilon));
        var one = eye(q.shape[^1], dtype: ScalarType.Float64, device: q.device);
        return linalg.solve(one - q, q.Times(2)).to(ScalarType.Float32);   // they commute
    }

    /// <summary>How far from nothing: ‖Q‖ and the lengths that are not 1.</summary>
    public static Tensor Norm(IReadOnlyDictionary<string, Tensor> factors)
    {
        var wide = factors[Blocks].to(ScalarType.Float64);
        var q = wide.sub(wide.transpose(-1, -2)).norm();
        return factors.TryGetValue(Rescale, out var lengths) ? stack([q, lengths.to(ScalarType.Float64).Minus(1).norm()]).norm() : q;
    }

    /// <summary>What is wrong with the lengths; null when nothing is.</summary>
    public static string? FaultOfRescale(FileModule module, long outputs)
    {
        if (module[Rescale]?.Shape is not { } shape) return null;
        return shape.Aggregate(1L, (a, b) => a * b) == outputs ? null : $"{Rescale} has the shape {Shapes.Show(shape)}; one number for each of the {outputs.ToString(System.Globalization.CultureInfo.InvariantCulture)} outputs is read";
    }
}
