using LowRank.Models.Layers;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>Attention at the shapes of SD 1.5, forward and backward: the engine's fused kernel, plain products, tiles, and what the models choose.</summary>
internal static class AttentionBenchmark
{
    private const int Heads = 8, Rounds = 7;

    private static readonly (long Queries, long Keys, long Channels)[] Shapes = [(4096, 4096, 320), (1024, 1024, 640), (256, 256, 1280), (64, 64, 1280), (4096, 77, 320), (1024, 77, 640), (256, 77, 1280)];

    public static void Run(Report report)
    {
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            foreach (var (queries, keys, channels) in Shapes) Measure(report, type, queries, keys, channels);
        }
    }

    private static void Measure(Report report, ScalarType type, long queries, long keys, long channels)
    {
        using var scope = NewDisposeScope();
        Tensor[] inputs = [.. new[] { queries, keys, keys }.Select(length => randn(1, length, channels).to(type).requires_grad_())];
        var gradient = randn(1, queries, channels).to(type);
        var (q, k, v) = (inputs[0], inputs[1], inputs[2]);
        Func<Tensor>[] ways = [() => Fused(q, k, v), () => Plain(q, k, v), () => TiledAttention.apply(q, k, v, Heads), () => Attention.ScaledDotProduct(q, k, v, Heads)];
        var best = new double[ways.Length];
        Array.Fill(best, double.MaxValue);
        for (var i = 0; i < (Rounds + 1) * ways.Length; i++)
        {
            var way = i % ways.Length;
            var took = Stopwatch.Milliseconds(() => Step(ways[way]));
            if (i >= ways.Length) best[way] = Math.Min(best[way], took);   // the first round touches pages for the first time
        }
        report.Add($"attention, {queries} queries, {keys} keys, {channels} channels, {Heads} heads, {(type == ScalarType.Float32 ? "fp32" : "bf16")}",
            $"fused {best[0]:F2} ms, plain {best[1]:F2} ms, tiles {best[2]:F2} ms, chosen {best[3]:F2} ms", $"forward and backward to query, key and value; best of {Rounds}, in turn");

        void Step(Func<Tensor> way)
        {
            using var inner = NewDisposeScope();
            autograd.grad([way()], inputs, [gradient]);
        }
    }

    private static Tensor Fused(Tensor query, Tensor key, Tensor value) => Join(nn.functional.scaled_dot_product_attention(Split(query), Split(key), Split(value)));

    private static Tensor Plain(Tensor query, Tensor key, Tensor value) => Join(Attention.Plain(Split(query), Split(key), Split(value)));

    private static Tensor Split(Tensor x) => x.unflatten(2, Heads, -1).transpose(1, 2);

    private static Tensor Join(Tensor x) => x.transpose(1, 2).flatten(2);
}
