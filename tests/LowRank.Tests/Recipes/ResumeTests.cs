using LowRank.Adapters;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>Stopped and resumed is not stopped at all: the same bytes, for every optimizer, schedule, adapter kind and start, and each method in each of its phases.</summary>
public sealed class ResumeTests : IDisposable
{
    private readonly TinyRun run = new();

    public static TheoryData<string> Names => [.. Table.Keys];

    private static readonly SortedDictionary<string, Func<TinyRun, TrainLoraOptions>> Table = new(
        new[]
        {
            Enum.GetValues<OptimizerKind>().Select(kind => Row($"optimizer {kind}", options => With(options, training => training with
            {
                Optimizer = kind,
                Schedule = kind == OptimizerKind.AdamwScheduleFree ? LearningRateShape.Constant : training.Schedule,
                LearningRate = kind == OptimizerKind.Prodigy ? 1 : training.LearningRate,
            }))),
            Enum.GetValues<LearningRateShape>().Select(shape => Row($"schedule {shape}", options => With(options, training => training with
            {
                Schedule = shape,
                WarmupSteps = shape == LearningRateShape.OneCycle ? 0 : 1,
                StepRules = shape == LearningRateShape.PiecewiseConstant ? "1:2,0.1" : training.StepRules,
            }))),
            Enum.GetValues<AdapterKind>().SelectMany(kind => new[] { 0, 0.3 }.Select(share => Row($"kind {kind}, dropout {share}", options => options with
            {
                Adapter = new AdapterOptions { Rank = 2, Kind = kind, Targets = ["all"], Dropout = share, ModuleDropout = share, OutputDropout = share, ScaleWeightNorms = 0.5 },
            }))),
            Enum.GetValues<AdapterInit>().Select(init => Row($"start {init}", options => options with { Adapter = new AdapterOptions { Rank = 2, Init = init } })),
            Enum.GetValues<DoraRule>().Select(rule => Row($"dora {rule}", options => options with { Adapter = new AdapterOptions { Rank = 2, Kind = AdapterKind.Dora, DoraRule = rule } })),
            [
                Row("lokr, both decomposed", options => options with { Adapter = new AdapterOptions { Rank = 1, Kind = AdapterKind.Lokr, DecomposeBoth = true, Factor = 4 } }),
                Row("layers that are left out", options => options with { Adapter = new AdapterOptions { Rank = 2, ModuleDropout = 0.5 } }),
                Row("kohya's dropouts", options => options with { Adapter = new AdapterOptions { Rank = 4, NeuronDropout = 0.3, RankDropout = 0.3 } }),
                Row("relative steps", options => With(options, training => training with { Optimizer = OptimizerKind.Adafactor, RelativeStep = true, Schedule = LearningRateShape.Constant, LearningRate = new TrainingOptions().LearningRate, WarmupInit = true })),
                Row("an average of the weights", options => With(options, training => training with { EmaDecay = 0.9 })),
                Row("rates by pattern, LoRA+", options => With(options, training => training with { LoraplusLrRatio = 4, Rates = [new LearningRateOverride { Pattern = "**.attn2.*", LearningRate = 0.003 }] })),
                Row("text encoder that stops", options => options with { TextEncoder = new TextEncoderOptions { Rank = 2, LearningRate = 0.01, StopStep = 3 } }),
                Row("computed again in backward", options => With(options, training => training with { GradientCheckpointing = true }) with { Adapter = new AdapterOptions { Rank = 2, NeuronDropout = 0.3 } }),
            ],
        }.SelectMany(rows => rows).ToDictionary(), StringComparer.Ordinal);

    public void Dispose() => run.Dispose();

    [Theory, MemberData(nameof(Names))]
    public void A_stopped_run_ends_in_the_bytes_of_one_that_was_not(string name)
    {
        var options = Table[name](run);
        var whole = File.ReadAllBytes(TinyRun.Train(options with { Output = run.Path("whole") }).Adapter);
        Assert.NotEqual(whole, File.ReadAllBytes(run.Path("whole", "adapter-000002.safetensors")));
        using var stop = new CancellationTokenSource();
        Assert.Equal(2, TinyRun.Train(options, listen: item => { if (item is StepFinished { Step: 2 }) stop.Cancel(); }, cancellation: stop.Token).Steps);
        Assert.Equal(whole, File.ReadAllBytes(TinyRun.Train(options, resume: true).Adapter));
    }

    /// <summary>A factor that doubles after every good step is soon too large again: what is left out then is left out by the resumed run as well.</summary>
    [Fact]
    public void A_run_stopped_behind_a_step_that_was_left_out_ends_in_the_same_bytes_too()
    {
        var options = With(run.Options, training => training with { Steps = 8, SaveEvery = 0, LossScale = 1e39, LossScaleGrowthInterval = 1 });
        var whole = File.ReadAllBytes(TinyRun.Train(options with { Output = run.Path("whole") }).Adapter);
        using var stop = new CancellationTokenSource();
        var made = 0L;
        var stopped = TinyRun.Train(options, listen: item =>
        {
            if (item is StepFinished step) made = step.Step;
            if (item is RunWarning && made >= 2) stop.Cancel();
        }, cancellation: stop.Token);
        Assert.False(stopped.Finished);
        Assert.Equal(whole, File.ReadAllBytes(TinyRun.Train(options, resume: true).Adapter));
    }

    private static KeyValuePair<string, Func<TinyRun, TrainLoraOptions>> Row(string name, Func<TrainLoraOptions, TrainLoraOptions> change) => new(name, run => change(run.Options));

    private static TrainLoraOptions With(TrainLoraOptions options, Func<TrainingOptions, TrainingOptions> change) => options with { Training = change(options.Training) };
}
