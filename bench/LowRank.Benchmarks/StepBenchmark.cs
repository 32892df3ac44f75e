using LowRank.Adapters;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Training;
using TorchSharp;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>
/// One LoRA step at the shapes of Stable Diffusion 1.5, weights random: batch 1, 64 × 64 latents, 77 text states, rank 4 on the attention layers.
/// Beside it the same frozen net without adapters, forward and backward to its input, in turn with the steps.
/// For the peak memory run one precision a process.
/// </summary>
internal sealed class StepBenchmark : IDisposable
{
    /// <summary>Of one step, counted layer by layer: 2 · 858.5 GMAC, attention included, recomputation not.</summary>
    private const double StepGigaflop = 1717;
    private const int Rounds = 4;
    private readonly UNet2DConditionModel net;
    private readonly AdapterSet adapter;
    private readonly AdamW optimizer;
    private readonly TrainingLoop loop;
    private readonly Tensor noisy, text, timestep, target;

    private StepBenchmark(ScalarType type)
    {
        net = new UNet2DConditionModel(new UNet2DConditionConfig { CrossAttentionDim = 768 }, new LayerFactory(CPU, type));
        foreach (var parameter in net.parameters()) parameter.requires_grad = false;
        using var init = new Generator(1);
        adapter = AdapterSet.Create(new Dictionary<string, nn.Module> { ["unet"] = net }, new() { Rank = 4 }, init, CPU);
        optimizer = new AdamW(TrainedParameters.Of(adapter, new ParameterRates(1e-4, 0.01)));
        loop = new TrainingLoop(optimizer, new ScheduleOptions(LearningRateShape.Constant, 1000).Make(), new TrainingLoopOptions(1000, MaxGradientNorm: 1));
        noisy = randn(1, 4, 64, 64).to(type);
        text = randn(1, 77, 768).to(type);
        timestep = tensor(500f);
        target = randn(1, 4, 64, 64);
    }

    public static void Run(Report report, ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var bench = new StepBenchmark(type);
        bench.Measure(report, type);
    }

    public void Dispose()
    {
        optimizer.Dispose();
        adapter.Dispose();
        net.Dispose();
    }

    private void Measure(Report report, ScalarType type)
    {
        var name = type == ScalarType.Float32 ? "fp32" : "bf16";
        var (frozen, step, peak, left) = (double.MaxValue, double.MaxValue, Report.GemmPeak(type), 0L);
        for (var round = 0; round <= Rounds; round++)
        {
            adapter.Detach();
            var without = Stopwatch.Milliseconds(Frozen);
            adapter.Attach();
            var before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;
            var with = Stopwatch.Milliseconds(() => loop.Step(_ => Loss()));
            left = DisposeScopeManager.Statistics.ThreadTotalLiveCount - before;
            if (round == 0) continue;   // pages are touched for the first time
            (frozen, step, peak) = (Math.Min(frozen, without), Math.Min(step, with), Math.Max(peak, Report.GemmPeak(type)));
        }
        var how = $"best of {Rounds}, in turn";
        report.Add($"SD 1.5 shapes, {name}: frozen net, forward and backward to its input", $"{frozen / 1000:F2} s", how);
        report.Add($"SD 1.5 shapes, {name}: LoRA step of rank 4", $"{step / 1000:F2} s", Invariant($"loss, backward, clipping and AdamW included; {how}"));
        report.Add($"SD 1.5 shapes, {name}: the same, ratio to the frozen net", $"{step / frozen:F3}", $"{adapter.Layers.Count} adapted layers");
        report.Add($"SD 1.5 shapes, {name}: the same, share of the GEMM peak", $"{StepGigaflop / step * 1000 / peak:P0}", Invariant($"{StepGigaflop} GFLOP; {name} peak {peak:F0} GFLOP/s, best before and after every round"));
        report.Add($"SD 1.5 shapes, {name}: tensors left by a step", $"{left}", "of TorchSharp's live count");
        report.Add($"SD 1.5 shapes, {name}: peak process memory", $"{PeakMemory():F2} GiB", "VmHWM at the end, weights included");
    }

    private void Frozen()
    {
        using var scope = NewDisposeScope();
        var input = noisy.clone().requires_grad_();
        Loss(input).backward();
    }

    private MicroBatchLoss Loss() => new(Loss(noisy), [0], ["noise"]);

    private Tensor Loss(Tensor input)
    {
        using var scope = NewDisposeScope();
        var prediction = net.call(input, timestep, text, null, null).to(ScalarType.Float32);
        return nn.functional.mse_loss(prediction, target).MoveToOuterDisposeScope();
    }

    /// <summary>The most memory this process ever held, GiB.</summary>
    private static double PeakMemory()
    {
        var line = File.ReadLines("/proc/self/status").First(text => text.StartsWith("VmHWM", StringComparison.Ordinal));
        return double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture) / (1 << 20);
    }
}
