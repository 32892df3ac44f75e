using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

/// <summary>The sum of a narrow output and a float32 branch, slice by slice, against the same formula all at once in float64.</summary>
public class RoundedSumTests
{
    private const float Factor = 0.75f;

    /// <summary>One slice; several with a smaller last one, for wide outputs and for wide inputs.</summary>
    public static TheoryData<long, long, long> Shapes => new() { { 5, 6, 7 }, { 1700, 32, 640 }, { 1700, 640, 32 } };

    [Theory, MemberData(nameof(Shapes))]
    public void The_sum_is_rounded_once_and_its_gradients_are_those_of_the_formula(long rows, long inputs, long outputs)
    {
        using var scope = NewDisposeScope();
        Tensor[] tensors = Tensors(rows, inputs, outputs);
        Tensor[] exact = [.. tensors.Select(tensor => tensor.detach().to(ScalarType.Float64).requires_grad_())];
        var weights = Formula.Noise("g", [rows, outputs], 9).to(ScalarType.BFloat16);
        var expected = exact[1].Plus(exact[0].mm(exact[2].t()).mm(exact[3].t()).Times(Factor));
        var actual = RoundedSum.apply(tensors[0], tensors[1], tensors[2], tensors[3], Factor, true);
        var expectedGradients = autograd.grad([expected], exact, [weights.to(ScalarType.Float64)]);
        var gradients = autograd.grad([actual], tensors, [weights]);
        Assert.Equal(ScalarType.BFloat16, actual.dtype);
        AssertRoundedOnce(expected, actual);
        AssertRoundedOnce(expectedGradients[0], gradients[0]);
        Assert.True(gradients[1].eq(weights).all().item<bool>());
        foreach (var i in new[] { 2, 3 }) Assert.InRange(((gradients[i] - expectedGradients[i]).norm() / expectedGradients[i].norm()).item<double>(), 0, 1e-6);
    }

    /// <summary>Within half a step of bfloat16, 2⁻⁸ of the value at most, and what float32 sums may miss.</summary>
    private static void AssertRoundedOnce(Tensor expected, Tensor actual) =>
        Assert.True(actual.to(ScalarType.Float64).allclose(expected, 1.001 / 256, 1e-5 * expected.abs().max().item<double>()));

    [Fact]
    public void The_sum_leaves_nothing_behind_whether_its_input_wants_a_gradient_or_not() => LeakGuard.AssertNothingLeft(() =>
    {
        using var scope = NewDisposeScope();
        Tensor[] tensors = Tensors(1700, 32, 640);
        RoundedSum.apply(tensors[0], tensors[1], tensors[2], tensors[3], Factor, true).sum().backward();
        Assert.NotNull(tensors[0].grad);
        RoundedSum.apply(tensors[0].detach(), tensors[1].detach(), tensors[2], tensors[3], Factor, false).sum().backward();
        using var quiet = no_grad();
        RoundedSum.apply(tensors[0], tensors[1], tensors[2], tensors[3], Factor, true);
    });

    /// <summary>x and y bfloat16, down and up float32 of rank 3; all want gradients.</summary>
    private static Tensor[] Tensors(long rows, long inputs, long outputs) =>
    [
        Formula.Noise("x", [rows, inputs], 1).to(ScalarType.BFloat16).requires_grad_(), Formula.Noise("y", [rows, outputs], 2).to(ScalarType.BFloat16).requires_grad_(),
        Formula.Noise("down", [3, inputs], 3).requires_grad_(), Formula.Noise("up", [outputs, 3], 4).requires_grad_(),
    ];
}
