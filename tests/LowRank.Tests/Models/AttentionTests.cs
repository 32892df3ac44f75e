using LowRank.Foundation;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Models;

/// <summary>The bfloat16 path of attention, in float64, where only its mathematics can differ from the formula.</summary>
public class AttentionTests
{
    /// <summary>One tile, several heads a tile with a smaller last one, and rows of one head with a smaller last one.</summary>
    public static TheoryData<long, long, long, int, int> Shapes => new() { { 2, 5, 7, 6, 2 }, { 2, 700, 900, 12, 4 }, { 1, 3000, 1500, 8, 2 } };

    [Theory, MemberData(nameof(Shapes))]
    public void Attention_in_tiles_is_softmax_attention_and_so_are_its_gradients(long batch, long queries, long keys, int channels, int heads)
    {
        using var scope = NewDisposeScope();
        Tensor[] inputs = [.. new[] { queries, keys, keys }.Select((length, i) => Formula.Noise($"{i}", [batch, length, channels], i).to(ScalarType.Float64).requires_grad_())];
        var weights = Formula.Noise("g", [batch, queries, channels], 9).to(ScalarType.Float64);
        var expected = ByFormula(inputs[0], inputs[1], inputs[2], heads);
        var actual = TiledAttention.apply(inputs[0], inputs[1], inputs[2], heads);
        var expectedGradients = autograd.grad([expected], inputs, [weights]);
        var gradients = autograd.grad([actual], inputs, [weights]);
        Assert.True(actual.allclose(expected, 1e-10, 1e-12));
        // sums over tiles are kept in float32
        foreach (var (found, wanted) in gradients.Zip(expectedGradients)) Assert.True(found.allclose(wanted, 1e-5, 1e-6), $"{(found - wanted).abs().max().item<double>():E2}");
    }

    [Fact]
    public void Long_attention_in_bfloat16_is_that_of_float32_within_its_rounding()
    {
        using var scope = NewDisposeScope();
        Tensor[] exact = [.. Enumerable.Range(0, 3).Select(i => Formula.Noise($"{i}", [1, 300, 64], i).to(ScalarType.BFloat16).to(ScalarType.Float32).requires_grad_())];
        Tensor[] rough = [.. exact.Select(x => x.detach().to(ScalarType.BFloat16).requires_grad_())];
        var weights = Formula.Noise("g", [1, 300, 64], 9).to(ScalarType.BFloat16);
        var expected = Attention.ScaledDotProduct(exact[0], exact[1], exact[2], 2);
        var actual = Attention.ScaledDotProduct(rough[0], rough[1], rough[2], 2);
        var wanted = autograd.grad([expected], exact, [weights.to(ScalarType.Float32)]).Prepend(expected);
        var found = autograd.grad([actual], rough, [weights]).Prepend(actual);
        Assert.Equal(ScalarType.BFloat16, actual.dtype);
        Assert.All(found.Zip(wanted), pair => Assert.InRange(((pair.First - pair.Second).norm() / pair.Second.norm()).item<float>(), 0, 0.02f));
    }

    [Fact]
    public void Attention_in_tiles_leaves_nothing_behind() => LeakGuard.AssertNothingLeft(() =>
    {
        using var scope = NewDisposeScope();
        Tensor[] inputs = [.. Enumerable.Range(0, 3).Select(i => Formula.Noise($"{i}", [1, 300, 16], i).to(ScalarType.BFloat16).requires_grad_())];
        Attention.ScaledDotProduct(inputs[0], inputs[1], inputs[2], 2).sum().backward();
        using var quiet = no_grad();
        Attention.ScaledDotProduct(inputs[0], inputs[1], inputs[2], 2);
    });

    /// <summary>softmax(q kᵀ / √d) v, head by head.</summary>
    private static Tensor ByFormula(Tensor query, Tensor key, Tensor value, int heads)
    {
        var size = query.size(2) / heads;
        return cat([.. Enumerable.Range(0, heads).Select(head =>
        {
            var (q, k, v) = (Head(query), Head(key), Head(value));
            return matmul(softmax(matmul(q, k.transpose(1, 2)).Over(Math.Sqrt(size)), -1), v);
            Tensor Head(Tensor x) => x.narrow(2, head * size, size);
        })], 2);
    }
}
