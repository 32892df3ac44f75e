using LowRank.Adapters;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>
/// What an attached rank-4 adapter costs a frozen linear layer of SD 1.5: forward and backward to the input, with and without, in turn.
/// The layers alone: in a whole UNet their share, and so the cost of adapters, is far smaller.
/// </summary>
internal static class HooksBenchmark
{
    private const int Rounds = 15;

    private static readonly (long Rows, long Inputs, long Outputs)[] Shapes = [(4096, 320, 320), (4096, 320, 2560), (1024, 640, 640), (256, 1280, 1280), (77, 768, 320)];

    public static void Run(Report report)
    {
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            foreach (var (rows, inputs, outputs) in Shapes) Measure(report, type, rows, inputs, outputs);
        }
    }

    private static void Measure(Report report, ScalarType type, long rows, long inputs, long outputs)
    {
        using var scope = NewDisposeScope();
        using var net = nn.Sequential(("layer", nn.Linear(inputs, outputs, dtype: type)));
        foreach (var parameter in net.parameters()) parameter.requires_grad = false;
        using var init = new Generator(1);
        using var adapter = AdapterSet.Create(new Dictionary<string, nn.Module> { ["net"] = net }, new() { Rank = 4, Targets = ["layer"] }, init, CPU);
        var x = randn(1, rows, inputs).to(type).requires_grad_();
        var gradient = randn(1, rows, outputs).to(type);
        var (plain, hooked) = (double.MaxValue, double.MaxValue);
        for (var i = 0; i <= Rounds; i++)
        {
            adapter.Detach();
            var without = Stopwatch.Milliseconds(Step);
            adapter.Attach();
            var with = Stopwatch.Milliseconds(Step);
            if (i > 0) (plain, hooked) = (Math.Min(plain, without), Math.Min(hooked, with));
        }
        report.Add(
            $"rank-4 adapter on a linear layer, {rows} rows, {inputs} to {outputs}, {(type == ScalarType.Float32 ? "fp32" : "bf16")}",
            $"{plain:F2} ms to {hooked:F2} ms", $"forward and backward to the input, without and with; best of {Rounds}, in turn");

        void Step()
        {
            using var inner = NewDisposeScope();
            var output = net.call(x);
            autograd.backward([output], [gradient]);
        }
    }
}
