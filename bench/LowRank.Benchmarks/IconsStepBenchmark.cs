using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Training;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>
/// A step of LoRA (attention layers, ranks 4 and 8) against one of full fine-tuning, on the embedded base in float32: the same latents, text states, noise and AdamW,
/// clipping included, in turn, median. Beside them the frozen UNet forward alone, and forward and backward to its input.
/// </summary>
internal static class IconsStepBenchmark
{
    private const int Rounds = 21;
    private static readonly int[] Ranks = [4, 8];

    public static void Run(Report report)
    {
        using var scope = NewDisposeScope();
        using var frozen = FamilyDetector.Open("icons-64");
        using var tuned = FamilyDetector.Open("icons-64");
        foreach (var parameter in frozen.Component("unet").parameters()) parameter.requires_grad = false;
        using var whole = new TrainedModules([("unet", tuned.Component("unet"))], new ParameterRates(1e-5, 0.01));
        using var optimizer = new AdamW(whole.Parameters);
        var full = Loop(optimizer);
        foreach (var batch in (long[])[4, 8]) Measure(report, frozen, tuned, full, batch);
    }

    private static TrainingLoop Loop(IOptimizer optimizer) => new(optimizer, new LearningRateSchedule.Constant(), new TrainingLoopOptions(1_000_000, MaxGradientNorm: 1));

    private static void Measure(Report report, IDiffusionFamily frozen, IDiffusionFamily tuned, TrainingLoop full, long batch)
    {
        using var scope = NewDisposeScope();
        var side = frozen.DefaultSize / frozen.LatentFactor;
        var text = frozen.EncodePrompts([.. Enumerable.Range(0, (int)batch).Select(i => Invariant($"a green book, number {i}"))]);
        text = new Conditioning { Hidden = text.Hidden.detach() };
        var (noisy, timesteps, target) = (randn(batch, 4, side, side), TensorArithmetic.Filled([batch], 500), randn(batch, 4, side, side));
        var wanting = noisy.clone().requires_grad_();
        var runs = new Dictionary<string, Action>
        {
            ["full fine-tuning, a step"] = () => full.Step(_ => Loss(tuned, noisy)),
            ["the frozen UNet, forward"] = () => Scoped(() => Loss(frozen, noisy)),
            ["the frozen UNet, forward and backward to its input"] = () => Scoped(() => Loss(frozen, wanting).Loss.backward()),
        };
        var ends = new List<IDisposable>();
        var adapters = new Dictionary<string, AdapterSet>();   // what is attached before a run, outside of its time
        foreach (var rank in Ranks)
        {
            using var init = new Generator(1);
            var adapter = AdapterSet.Create(new Dictionary<string, nn.Module> { ["unet"] = frozen.Component("unet") }, new() { Rank = rank }, init, CPU);
            adapter.Detach();
            var optimizer = new AdamW(TrainedParameters.Of(adapter, new ParameterRates(1e-4, 0.01)));
            var loop = Loop(optimizer);
            var name = Invariant($"LoRA of rank {rank}, a step");
            runs[name] = () => loop.Step(_ => Loss(frozen, noisy));
            ends.AddRange([optimizer, adapter]);
            adapters[name] = adapter;
        }
        var times = runs.ToDictionary(run => run.Key, _ => new List<double>());
        for (var round = -3; round < Rounds; round++)
        {
            foreach (var (name, run) in runs)
            {
                var adapter = adapters.GetValueOrDefault(name);
                adapter?.Attach();
                var time = Stopwatch.Milliseconds(run);
                adapter?.Detach();
                if (round >= 0) times[name].Add(time);
            }
        }
        double Middle(string name) => times[name].Order().ElementAt(Rounds / 2);
        var yardstick = Middle("full fine-tuning, a step");
        foreach (var name in runs.Keys)
        {
            report.Add(Invariant($"icons-64, batch {batch}: {name}"), $"{Middle(name):F1} ms", Invariant($"full fine-tuning takes {yardstick / Middle(name):F2} times that; median of {Rounds}, in turn"));
        }
        report.Add(Invariant($"icons-64, batch {batch}: adapted layers"), $"{adapters.Values.First().Layers.Count}", "");
        ends.ForEach(end => end.Dispose());

        MicroBatchLoss Loss(IDiffusionFamily family, Tensor input)
        {
            using var inner = NewDisposeScope();
            var loss = nn.functional.mse_loss(family.Predict(input, timesteps, text), target);
            return new MicroBatchLoss(loss.MoveToOuterDisposeScope(), [0], ["noise"]);
        }
    }

    private static void Scoped(Action run)
    {
        using var inner = NewDisposeScope();
        run();
    }
}
