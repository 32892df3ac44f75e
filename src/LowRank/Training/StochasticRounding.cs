using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// float32 to bfloat16 by chance: up or down in proportion to what is cut off, so that many small updates add up to what they should instead of being
/// rounded away (Zamirai et al. 2020, arXiv:2010.06192, section 4).
/// </summary>
internal static class StochasticRounding
{
    private const int KeptBits = 8, DroppedBits = 16;   // of float32's 24, the leading one included

    /// <summary>
    /// Adds the random bits to those that bfloat16 drops, and drops them: of the magnitude, so that it is right for negative numbers too. The same bits as by
    /// integers; TorchSharp has no view of a tensor as another type. Numbers below 1e-38 may become 0.
    /// </summary>
    /// <param name="values">float32, finite; one that bfloat16 can hold stays as it is.</param>
    /// <param name="bits">Of the same shape, int32 in [0, 65536).</param>
    /// <returns>bfloat16, fresh.</returns>
    public static Tensor Round(Tensor values, Tensor bits)
    {
        using var scope = NewDisposeScope();
        var size = values.abs();
        var fraction = frexp(size).Mantissa;                                              // in [0.5, 1), or 0
        var step = size.div(fraction.AtLeast(0.5)).DivideInPlace(1 << KeptBits);                // what bfloat16 tells apart there: a power of two, exactly
        var steps = fraction.MultiplyInPlace(1 << KeptBits).AddInPlace(bits.to(ScalarType.Float32).DivideInPlace(1 << DroppedBits)).floor_();   // 24 bits hold the sum, or what of it counts
        return steps.mul_(step).mul_(values.sign()).to(ScalarType.BFloat16).MoveToOuterDisposeScope();
    }

    /// <summary>Bits for <see cref="Round"/> from a stream on the CPU.</summary>
    public static Tensor Draw(long count, Generator stream, Device device)
    {
        using var drawn = randint(0, 1 << DroppedBits, [count], ScalarType.Int32, generator: stream);
        return drawn.to(device, copy: true);
    }
}
