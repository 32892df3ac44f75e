using LowRank.Models.Layers;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>Attention in bfloat16 at the shapes of SD 1.5, forward and backward: the engine's fused kernel, tiles, and what the models choose.</summary>
internal static class AttentionBenchmark
{
    private const int Heads = 8, Rounds = 5;

    private static readonly (long Queries, long Keys, long Channels)[] Shapes = [(4096, 4096, 320), (1024, 1024, 640), (256, 256, 1280), (4096, 77, 320), (1024, 77, 640)];

    public static void Run(Report report)
    {
        foreach (var (queries, keys, channels) in Shapes)
        {
            using var scope = NewDisposeScope();
            Tensor[] inputs = [.. new[] { queries, keys, keys }.Select(length => randn(1, length, channels).to(ScalarType.BFloat16).requires_grad_())];
            var gradient = randn(1, queries, channels).to(ScalarType.BFloat16);
            var (q, k, v) = (inputs[0], inputs[1], inputs[2]);
            Func<Tensor>[] ways = [() => Fused(q, k, v), () => TiledAttention.apply(q, k, v, Heads), () => Attention.ScaledDotProduct(q, k, v, Heads)];
            var best = new double[ways.Length];
            Array.Fill(best, double.MaxValue);
            for (var i = 0; i < Rounds * ways.Length; i++)
            {
                var way = i % ways.Length;
                best[way] = Math.Min(best[way], Stopwatch.Milliseconds(() => Step(ways[way])));
            }
            report.Add($"attention, {queries} queries, {keys} keys, {channels} channels, {Heads} heads, bf16",
                $"fused {best[0]:F1} ms, tiles {best[1]:F1} ms, chosen {best[2]:F1} ms", $"forward and backward to query, key and value; best of {Rounds}, in turn");

            void Step(Func<Tensor> way)
            {
                using var inner = NewDisposeScope();
                autograd.grad([way()], inputs, [gradient]);
            }
        }
    }

    private static Tensor Fused(Tensor query, Tensor key, Tensor value)
    {
        Tensor Split(Tensor x) => x.unflatten(2, Heads, -1).transpose(1, 2);
        return nn.functional.scaled_dot_product_attention(Split(query), Split(key), Split(value)).transpose(1, 2).flatten(2);
    }
}
