using LowRank.Adapters;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Training;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>One step of each kind of adapter at the shapes of Stable Diffusion 1.5, weights random, fp32: batch 1, 64 × 64 latents, rank 4 on the attention layers, in turn.</summary>
internal static class KindsBenchmark
{
    private const int Rounds = 3;

    private static readonly (string Name, AdapterOptions Options)[] Kinds =
    [
        ("LoRA", new() { Rank = 4 }),
        ("DoRA, PEFT's rule", new() { Rank = 4, Kind = AdapterKind.Dora }),
        ("DoRA, LyCORIS' rule", new() { Rank = 4, Kind = AdapterKind.Dora, DoraRule = DoraRule.Lycoris }),
        ("LoHa", new() { Rank = 4, Kind = AdapterKind.Loha }),
        ("LoKr", new() { Rank = 4, Kind = AdapterKind.Lokr }),
    ];

    public static void Run(Report report)
    {
        using var scope = NewDisposeScope();
        using var net = new UNet2DConditionModel(new UNet2DConditionConfig { CrossAttentionDim = 768 }, new LayerFactory(CPU, ScalarType.Float32));
        foreach (var parameter in net.parameters()) parameter.requires_grad = false;
        var (noisy, text, timestep, target) = (randn(1, 4, 64, 64), randn(1, 77, 768), tensor(500f), randn(1, 4, 64, 64));
        var (best, numbers) = (Kinds.ToDictionary(kind => kind.Name, _ => double.MaxValue), new Dictionary<string, long>());
        for (var round = 0; round <= Rounds; round++)
        {
            foreach (var (name, options) in Kinds)
            {
                using var init = new Generator(1);
                using var adapter = AdapterSet.Create(new Dictionary<string, nn.Module> { ["unet"] = net }, options, init, CPU);
                using var optimizer = new AdamW(TrainedParameters.Of(adapter, new ParameterRates(1e-4, 0.01)));
                var loop = new TrainingLoop(optimizer, new LearningRateSchedule.Constant(), new TrainingLoopOptions(1, MaxGradientNorm: 1));
                var time = Stopwatch.Milliseconds(() => loop.Step(_ => Loss()));
                numbers[name] = adapter.FlatParameters.numel();
                if (round > 0) best[name] = Math.Min(best[name], time);   // the first round touches the pages
            }
        }
        foreach (var (name, _) in Kinds)
        {
            report.Add($"SD 1.5 shapes, fp32, rank 4: a step with {name}", $"{best[name] / 1000:F2} s, {best[name] / best["LoRA"]:F2} × LoRA", Invariant($"{numbers[name] / 1e6:F2} M numbers; best of {Rounds}, in turn"));
        }

        MicroBatchLoss Loss()
        {
            using var inner = NewDisposeScope();
            var loss = nn.functional.mse_loss(net.call(noisy, timestep, text, null, null), target);
            return new MicroBatchLoss(loss.MoveToOuterDisposeScope(), [0], ["noise"]);
        }
    }
}
