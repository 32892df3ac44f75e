using LowRank.Foundation;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>
/// y + factor · x downᵀ upᵀ where y is narrower than float32: x and y are cast up, the sum is made in float32 and rounded once to y's type.
/// Forward and backward go over slices of rows that stay in the processor's cache, and x is kept for backward in its own type:
/// no float32 copy of x, of y or of a gradient ever exists as a whole.
/// </summary>
internal sealed class RoundedSum : autograd.SingleTensorFunction<RoundedSum>
{
    /// <summary>Numbers of a slice: 1 MiB of float32.</summary>
    private const long SliceNumbers = 1 << 18;
    private const string Factor = "factor", WantsInput = "wants input", Returned = "returned";

    /// <inheritdoc/>
    public override string Name => nameof(RoundedSum);

    /// <summary>The sum.</summary>
    /// <param name="ctx">Keeps what backward needs.</param>
    /// <param name="vars">x (N, in) of any float type, y (N, out), down (r, in) and up (out, r) float32, the factor as float, whether x wants a gradient.</param>
    /// <returns>(N, out), of y's type.</returns>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        using var scope = NewDisposeScope();
        var (x, y, down, up, factor) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor)vars[2], (Tensor)vars[3], (float)vars[4]);
        var rows = up.t().contiguous();   // (r, out): in products long rows are three times as fast as short ones
        var hidden = empty([x.size(0), down.size(0)], ScalarType.Float32, x.device);
        var sum = empty_like(y);
        foreach (var slice in Slices(x, y))
        {
            using var inner = NewDisposeScope();
            slice.Of(hidden).copy_(slice.Wide(x).mm(down.t()));
            slice.Of(sum).copy_(slice.Wide(y).addmm_(slice.Of(hidden), rows, 1f, factor));   // y is narrower: the cast is a tensor of our own
        }
        ctx.save_for_backward([x, hidden.MoveToOuterDisposeScope(), down, up]);
        ctx.save_data(Factor, factor);
        ctx.save_data(WantsInput, vars[5]);
        return sum.MoveToOuterDisposeScope();
    }

    /// <summary>With h = x downᵀ and G the gradient: dUp = factor Gᵀ h, dh = factor G up, dDown = dhᵀ x, dx = dh down; y's is G itself.</summary>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad)
    {
        using var scope = NewDisposeScope();
        var (saved, factor) = (ctx.get_saved_variables(), (float)ctx.get_data(Factor));
        var (x, hidden, down, up) = (saved[0], saved[1], saved[2], saved[3]);
        var rows = up.t().contiguous();
        var (dDown, dRows) = (zeros_like(down), zeros_like(rows));   // sums over slices
        var dx = (bool)ctx.get_data(WantsInput) ? empty_like(x) : null;
        foreach (var slice in Slices(x, grad))
        {
            using var inner = NewDisposeScope();
            var g = slice.Wide(grad);
            dRows.addmm_(slice.Of(hidden).t(), g, 1f, factor);
            var dh = g.mm(rows.t()).MultiplyInPlace(factor);   // (n, r)
            dDown.addmm_(dh.t(), slice.Wide(x), 1f, 1f);
            if (dx is not null) slice.Of(dx).copy_(dh.mm(down));
        }
        Tensor?[] gradients = [dx, grad.alias(), dDown, dRows.t()];
        foreach (var gradient in gradients) gradient?.MoveToOuterDisposeScope();
        ctx.save_data(Returned, gradients);   // the engine takes them by address: nothing else would keep them from the garbage collector
        grad.Dispose();                       // made for this call
        return [.. gradients.Select(gradient => gradient!), null!, null!];   // none for the factor and the flag
    }

    /// <summary>On a CPU some rows at a time; elsewhere all at once.</summary>
    private static IEnumerable<Slice> Slices(Tensor x, Tensor y)
    {
        var length = x.size(0);
        var count = x.device_type == DeviceType.CPU ? Math.Max(1, SliceNumbers / Math.Max(x.size(1), y.size(1))) : length;
        for (var start = 0L; start < length; start += count) yield return new Slice(start, Math.Min(count, length - start));
    }

    private readonly record struct Slice(long Start, long Count)
    {
        public Tensor Of(Tensor x) => x.narrow(0, Start, Count);

        public Tensor Wide(Tensor x) => Of(x).to(ScalarType.Float32);
    }
}
