using System.Runtime.CompilerServices;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>Checks of tensor shapes at the library's boundary, with messages worth reading.</summary>
internal static class Shapes
{
    /// <summary>
    /// Refuses a tensor of another shape. The pattern has one entry an axis: a number is that size, a name any size,
    /// the same name twice the same size; a leading <c>…</c> stands for any number of axes.
    /// </summary>
    /// <returns>The tensor itself.</returns>
    /// <exception cref="ArgumentException">The shape does not fit; the message names the tensor, its shape, and the axis.</exception>
    public static Tensor Require(Tensor tensor, string pattern, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        var wanted = pattern.Split(',', StringSplitOptions.TrimEntries);
        var shape = tensor.shape;
        var open = wanted[0] == "…";
        if (open) wanted = wanted[1..];
        if (open ? shape.Length < wanted.Length : shape.Length != wanted.Length)
        {
            throw Refuse(Invariant($"it has {shape.Length} axes, not {(open ? "at least " : "")}{wanted.Length}"));
        }
        var first = shape.Length - wanted.Length;
        var sizes = new Dictionary<string, long>();
        for (var i = 0; i < wanted.Length; i++)
        {
            var size = shape[first + i];
            if (long.TryParse(wanted[i], out var fixedSize))
            {
                if (size != fixedSize) throw Refuse(Invariant($"axis {first + i} is {size}, not {fixedSize}"));
            }
            else if (!sizes.TryAdd(wanted[i], size) && sizes[wanted[i]] != size)
            {
                throw Refuse(Invariant($"axis {first + i} ({wanted[i]}) is {size}, not {sizes[wanted[i]]} as before"));
            }
        }
        return tensor;

        ArgumentException Refuse(string why) => new(Invariant($"{name} has shape {Show(shape)}, expected ({pattern.Replace(" ", "")}): {why}"), name);
    }

    /// <summary><c>[2,4,8,8]</c></summary>
    public static string Show(IEnumerable<long> shape) => $"[{string.Join(',', shape.Select(size => Invariant($"{size}")))}]";
}
