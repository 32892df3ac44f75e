using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Numbers in 8 bits: blocks of 256, each with its largest absolute value; a number is the code nearest to value / largest in a map of 256
/// (Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", sections 2.1 and 2.2). Owns the map.
/// </summary>
internal sealed class BlockQuantizer : IDisposable
{
    /// <summary>Numbers in a block; the last block of a tensor may hold fewer.</summary>
    public const int Block = 256;

    private const int Exponents = 7;
    private readonly Tensor middles;

    /// <summary>Makes the map.</summary>
    /// <param name="signed">Whether numbers below 0 occur.</param>
    /// <param name="device">Where the numbers lie.</param>
    public BlockQuantizer(bool signed, Device device)
    {
        using var scope = NewDisposeScope();
        var map = Values(signed);
        Map = tensor(map, device: device).DetachFromDisposeScope();
        // a number in the very middle takes the lower code
        middles = tensor(map.Zip(map.Skip(1), (low, high) => (float)(((double)low + high) / 2)).ToArray(), device: device).DetachFromDisposeScope();
    }

    /// <summary>(256) float32, rising from −1 or 0 to 1.</summary>
    public Tensor Map { get; }

    /// <summary>Codes of numbers, and the largest of each block.</summary>
    /// <param name="values">(n) float32.</param>
    /// <param name="codes">(n) uint8, written.</param>
    /// <param name="largest">(⌈n / 256⌉) float32, written.</param>
    public void Quantize(Tensor values, Tensor codes, Tensor largest)
    {
        using var scope = NewDisposeScope();
        foreach (var (start, rows, length) in Pieces(values.numel()))
        {
            var part = values.narrow(0, start, rows * length).view(rows, length);
            var most = part.abs().amax([1]);
            largest.narrow(0, start / Block, rows).copy_(most);
            // in a block of zeros every number is 0 times anything
            var scaled = part / most.where(most.IsAbove(0), ones_like(most)).unsqueeze(1);
            codes.narrow(0, start, rows * length).copy_(bucketize(scaled, middles, outInt32: true).flatten());
        }
    }

    /// <summary>Numbers from their codes: (n) float32, the caller's.</summary>
    public Tensor Dequantize(Tensor codes, Tensor largest)
    {
        using var scope = NewDisposeScope();
        var values = Map.index_select(0, codes.to(ScalarType.Int32));
        foreach (var (start, rows, length) in Pieces(values.numel()))
        {
            values.narrow(0, start, rows * length).view(rows, length).mul_(largest.narrow(0, start / Block, rows).unsqueeze(1));
        }
        return values.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Map.Dispose();
        middles.Dispose();
    }

    /// <summary>The whole blocks, then the ragged last one.</summary>
    private static IEnumerable<(long Start, long Rows, long Length)> Pieces(long count)
    {
        var whole = count / Block;
        if (whole > 0) yield return (0, whole, Block);
        if (count % Block > 0) yield return (whole * Block, 1, count % Block);
    }

    /// <summary>
    /// For i = 0…6, 2^i numbers (2^(i+1) without signs) evenly between 0.1 and 1, times 10^(i−6): many small numbers, few large ones. With signs
    /// also their negatives. And 0 and 1.
    /// </summary>
    private static float[] Values(bool signed)
    {
        var values = new List<float> { 0, 1 };
        for (var i = 0; i < Exponents; i++)
        {
            var count = 1 << (signed ? i : i + 1);
            var borders = linspace(0.1, 1, count + 1, ScalarType.Float32).data<float>().ToArray();
            for (var j = 0; j < count; j++)
            {
                // the scale is a factor of float32, as in the map that others' states were made with
                var value = (borders[j] + borders[j + 1]) / 2f * (float)Math.Pow(10, i - (Exponents - 1));
                values.Add(value);
                if (signed) values.Add(-value);
            }
        }
        return [.. values.Order()];
    }
}
