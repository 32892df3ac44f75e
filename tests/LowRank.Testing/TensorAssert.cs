using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Testing;

/// <summary>Comparisons of whole tensors that say where and by how much two differ.</summary>
public static class TensorAssert
{
    /// <summary>|actual - expected| ≤ atol + rtol · |expected| everywhere (numpy's allclose); NaN equals NaN only where asked.</summary>
    public static void Close(Tensor expected, Tensor actual, double rtol, double atol, string label = "tensor", bool nanEqual = false)
    {
        using var scope = NewDisposeScope();
        Assert.True(expected.shape.SequenceEqual(actual.shape), $"{label}: shape [{string.Join(",", actual.shape)}], expected [{string.Join(",", expected.shape)}]");
        var want = expected.detach().cpu().to(ScalarType.Float64).contiguous().flatten();
        var have = actual.detach().cpu().to(ScalarType.Float64).contiguous().flatten();
        if (want.numel() == 0) return;
        var difference = (have - want).abs();
        var excess = difference - want.abs().Times(rtol).Plus(atol);
        var bad = excess.IsAbove(0).logical_or(have.isfinite().logical_not().logical_and(have.eq(want).logical_not()));
        if (nanEqual) bad = bad.logical_and(have.isnan().logical_and(want.isnan()).logical_not());
        else bad = bad.logical_or(have.isnan()).logical_or(want.isnan());
        var count = bad.sum().item<long>();
        if (count == 0) return;
        var first = bad.to(ScalarType.Int32).argmax().item<long>();
        Assert.Fail(string.Create(CultureInfo.InvariantCulture,
            $"{label}: {count} of {want.numel()} elements differ; first at {first}: {have[first].item<double>():R}, expected {want[first].item<double>():R}; " +
            $"largest difference {difference.max().item<double>():G4} (rtol {rtol:G3}, atol {atol:G3}, largest expected {want.abs().max().item<double>():G4})"));
    }

    /// <summary>Same shape and same values, bit for bit.</summary>
    public static void Equal(Tensor expected, Tensor actual, string label = "tensor") => Close(expected, actual, 0, 0, label, nanEqual: true);
}
