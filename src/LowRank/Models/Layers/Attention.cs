using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Models.Layers;

/// <summary>Scaled dot-product attention on flat channels (Vaswani et al. 2017, eq. 1).</summary>
internal static class Attention
{
    /// <summary>Up to this many keys the three plain steps beat the fused kernel in bfloat16 on a CPU (up to 1.9 times, measured).</summary>
    private const long ShortKeys = 256;

    /// <summary>softmax(q kᵀ / √d) v for each head, heads split from and joined to the channels; d = C / heads.</summary>
    /// <param name="query">(B, L, C).</param>
    /// <param name="key">(B, S, C).</param>
    /// <param name="value">(B, S, C).</param>
    /// <param name="heads">Divides C.</param>
    /// <param name="causal">Position i sees keys 0…i only; L = S.</param>
    /// <returns>(B, L, C).</returns>
    public static Tensor ScaledDotProduct(Tensor query, Tensor key, Tensor value, int heads, bool causal = false)
    {
        using var scope = NewDisposeScope();
        var q = SplitHeads(query, heads);   // (B, heads, L, d)
        var k = SplitHeads(key, heads);     // (B, heads, S, d)
        var v = SplitHeads(value, heads);
        var plain = !causal && query.dtype == ScalarType.BFloat16 && query.device_type == DeviceType.CPU && key.size(1) <= ShortKeys;
        var attended = plain ? Plain(q, k, v) : nn.functional.scaled_dot_product_attention(q, k, v, is_casual: causal);
        return attended.transpose(1, 2).flatten(2).MoveToOuterDisposeScope();   // (B, L, C)
    }

    private static Tensor SplitHeads(Tensor x, int heads) => x.unflatten(2, heads, -1).transpose(1, 2);

    private static Tensor Plain(Tensor q, Tensor k, Tensor v)
    {
        var scores = matmul(q * (1 / Math.Sqrt(q.size(-1))), k.transpose(-1, -2));   // (B, heads, L, S)
        return matmul(softmax(scores, -1), v);
    }
}
