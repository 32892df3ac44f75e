using LowRank.Foundation;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Models.Layers;

/// <summary>Scaled dot-product attention on flat channels (Vaswani et al. 2017, eq. 1).</summary>
internal static class Attention
{
    /// <summary>Up to this many keys it is faster to keep the probabilities for backward than to make them again: 7.5 ms against 11.8 for 4096 queries and 77 keys (bench/RESULTS.md).</summary>
    private const long ShortKeys = 256;

    /// <summary>
    /// softmax(q kᵀ / √d) v for each head, heads split from and joined to the channels; d = C / heads.
    /// On a CPU the engine's fused kernel is no faster in bfloat16 than in float32, so there bfloat16 goes by plain products: for the 4096 pixels
    /// of Stable Diffusion 1.5 forward and backward take 206 ms instead of 397 (bench/RESULTS.md). Their scores are rounded to bfloat16.
    /// In float32 the fused kernel is the fastest: 517 ms against 670 in tiles.
    /// </summary>
    /// <param name="query">(B, L, C).</param>
    /// <param name="key">(B, S, C).</param>
    /// <param name="value">(B, S, C).</param>
    /// <param name="heads">Divides C.</param>
    /// <param name="causal">Position i sees keys 0…i only; L = S.</param>
    /// <returns>(B, L, C).</returns>
    public static Tensor ScaledDotProduct(Tensor query, Tensor key, Tensor value, int heads, bool causal = false)
    {
        using var scope = NewDisposeScope();
        var products = !causal && query.dtype == ScalarType.BFloat16 && query.device_type == DeviceType.CPU;
        if (products && key.size(1) > ShortKeys) return TiledAttention.apply(query, key, value, heads).MoveToOuterDisposeScope();
        var q = SplitHeads(query, heads);   // (B, heads, L, d)
        var k = SplitHeads(key, heads);     // (B, heads, S, d)
        var v = SplitHeads(value, heads);
        var attended = products ? Plain(q, k, v) : nn.functional.scaled_dot_product_attention(q, k, v, is_casual: causal);
        return attended.transpose(1, 2).flatten(2).MoveToOuterDisposeScope();   // (B, L, C)
    }

    private static Tensor SplitHeads(Tensor x, int heads) => x.unflatten(2, heads, -1).transpose(1, 2);

    internal static Tensor Plain(Tensor q, Tensor k, Tensor v)
    {
        var scores = matmul(q.Times(1 / Math.Sqrt(q.size(-1))), k.transpose(-1, -2));   // (B, heads, L, S)
        return matmul(softmax(scores, -1), v);
    }
}

/// <summary>
/// Attention by matrix products over tiles of the score matrix that stay in the processor's cache; backward makes the probabilities again.
/// No more than a tile of the (L, S) matrix ever exists. A tile has whole rows, so its softmax is the ordinary one.
/// </summary>
internal sealed class TiledAttention : autograd.SingleTensorFunction<TiledAttention>
{
    /// <summary>Scores of a tile: 4 MiB of bfloat16.</summary>
    private const long TileScores = 1 << 21;
    private const string Heads = "heads", Returned = "returned";

    /// <inheritdoc/>
    public override string Name => nameof(TiledAttention);

    /// <summary>As <see cref="Attention.ScaledDotProduct"/>.</summary>
    /// <param name="ctx">Keeps what backward needs: query, key, value and the result.</param>
    /// <param name="vars">query, key, value, heads.</param>
    /// <returns>(B, L, C).</returns>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        using var scope = NewDisposeScope();
        var heads = (int)vars[3];
        var (q, k, v) = (Split((Tensor)vars[0], heads), Split((Tensor)vars[1], heads), Split((Tensor)vars[2], heads));
        q.MultiplyInPlace(Scale(q));   // here, not in the larger scores
        var attended = empty_like(q);   // (B·heads, L, d)
        foreach (var tile in Tiles(q, k))
        {
            using var inner = NewDisposeScope();
            tile.Rows(attended).copy_(bmm(tile.Probabilities(q, k), tile.Heads(v)));
        }
        var joined = Join(attended, heads);
        ctx.save_for_backward([q.MoveToOuterDisposeScope(), k.MoveToOuterDisposeScope(), v.MoveToOuterDisposeScope(), attended.MoveToOuterDisposeScope()]);
        ctx.save_data(Heads, heads);
        return joined.MoveToOuterDisposeScope();
    }

    /// <summary>
    /// dV = Pᵀ G, dS = P ⊙ (G Vᵀ − δ), dQ = dS K, dK = dSᵀ Q, with δ the row sums of G ⊙ result (Dao et al. 2022, arXiv 2205.14135, appendix B.2).
    /// δ is two more columns of that product, its bfloat16 value and the rest: so the difference is rounded once, and costs nothing.
    /// </summary>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad)
    {
        using var scope = NewDisposeScope();
        var (saved, heads) = (ctx.get_saved_variables(), (int)ctx.get_data(Heads));
        var (q, k, v) = (saved[0], saved[1], saved[2]);
        var g = Split(grad, heads);
        var delta = (g.to(ScalarType.Float32) * saved[3]).sum(-1, keepdim: true).neg_();   // (B·heads, L, 1) float32
        var rounded = delta.to(g.dtype);
        var wideG = cat([g, rounded, (delta - rounded).to(g.dtype)], -1);   // (B·heads, L, d + 2)
        var wideV = cat([v, ones([v.size(0), v.size(1), 2], v.dtype, v.device)], -1);   // (B·heads, S, d + 2)
        var dq = empty_like(q);
        var (dk, dv) = (zeros_like(k, ScalarType.Float32), zeros_like(v, ScalarType.Float32));   // sums over tiles
        foreach (var tile in Tiles(q, k))
        {
            using var inner = NewDisposeScope();
            var p = tile.Probabilities(q, k);
            tile.Heads(dv).AddInPlace(bmm(p.transpose(1, 2), tile.Rows(g)));
            var ds = bmm(tile.Rows(wideG), tile.Heads(wideV).transpose(1, 2)).mul_(p);
            tile.Rows(dq).copy_(bmm(ds, tile.Heads(k)));
            tile.Heads(dk).AddInPlace(bmm(ds.transpose(1, 2), tile.Rows(q)));
        }
        Tensor[] gradients = [Join(dq.MultiplyInPlace(Scale(q)), heads), Join(dk.to(k.dtype), heads), Join(dv.to(v.dtype), heads)];
        foreach (var gradient in gradients) gradient.MoveToOuterDisposeScope();
        ctx.save_data(Returned, gradients);   // the engine takes them by address: nothing else would keep them from the garbage collector
        grad.Dispose();                       // made for this call
        return [.. gradients, null!];         // none for the number of heads
    }

    private static double Scale(Tensor q) => Math.Pow(q.size(2), -0.5);

    /// <summary>(B, L, C) to (B·heads, L, d), a copy: products of strided heads take half as long again.</summary>
    private static Tensor Split(Tensor x, int heads) => x.unflatten(2, heads, -1).transpose(1, 2).flatten(0, 1).contiguous();

    /// <summary>(B·heads, L, d) to (B, L, C).</summary>
    private static Tensor Join(Tensor x, int heads) => x.unflatten(0, -1, heads).transpose(1, 2).flatten(2);

    /// <summary>Several whole heads where their scores fit, else some rows of one.</summary>
    private static IEnumerable<Tile> Tiles(Tensor q, Tensor k)
    {
        var (batch, length, keys) = (q.size(0), q.size(1), k.size(1));
        var heads = Math.Clamp(TileScores / (length * keys), 1, batch);
        var rows = heads > 1 ? length : Math.Clamp(TileScores / keys, 1, length);
        for (var head = 0L; head < batch; head += heads)
        {
            for (var row = 0L; row < length; row += rows) yield return new Tile(head, Math.Min(heads, batch - head), row, Math.Min(rows, length - row));
        }
    }

    private readonly record struct Tile(long Head, long HeadCount, long Row, long RowCount)
    {
        public Tensor Heads(Tensor x) => x.narrow(0, Head, HeadCount);

        public Tensor Rows(Tensor x) => Heads(x).narrow(1, Row, RowCount);

        public Tensor Probabilities(Tensor q, Tensor k) => nn.functional.softmax(bmm(Rows(q), Heads(k).transpose(1, 2)), -1);   // (heads, rows, S)
    }
}
