using System.Diagnostics;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// Trains a LoRA on the denoiser of a model: open, encode, attach, loop, write. One run after another may be made in one process.
/// </summary>
public static class TrainLora
{
    /// <summary>The same as <see cref="Run"/> on a thread of its own, for callers that await.</summary>
    public static Task<TrainingResult> RunAsync(TrainLoraOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default) =>
        Task.Factory.StartNew(() => Run(options, progress, resume, cancellation), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>What a run would do, without writing anything.</summary>
    /// <exception cref="LowRankException">Options, model or data that cannot be used.</exception>
    public static TrainingPlan Plan(TrainLoraOptions options)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        using var streams = new RandomStreams(options.Seed);
        using var family = Open(options);
        var data = RunOptions.ReadData(options, family, options.Data);
        using var adapter = TrainedParts.Attach(options, options.Adapter, family, streams);
        return RunEstimate.Of(options, family, data, TrainedSize.Of(adapter, options.Save.Precision));
    }

    /// <summary>Trains.</summary>
    /// <param name="options">Everything about the run.</param>
    /// <param name="progress">Hears of steps, saves, previews and warnings, on this thread.</param>
    /// <param name="resume">Goes on with the run in the output folder; the result has the same bytes as that of an uninterrupted run.</param>
    /// <param name="cancellation">Stops after the running step; adapter and state are saved. Before the first step there is nothing to save.</param>
    /// <exception cref="LowRankException">Options, model or data that cannot be used, or a training that diverged: what it reached is saved.</exception>
    /// <exception cref="OperationCanceledException">Stopped before its first step; the output folder is as it was.</exception>
    public static TrainingResult Run(TrainLoraOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var (watch, training) = (Stopwatch.StartNew(), options.Training);

        // open
        using var run = TrainingRun.Open(options, resume, progress);
        using var streams = new RandomStreams(options.Seed);
        using var family = Open(options);
        using var adapter = TrainedParts.Attach(options, options.Adapter, family, streams);
        PriorPictures.Draw(options, family, adapter, run, cancellation);
        var data = RunOptions.ReadData(options, family, options.Data, cancellation);
        TrainingLoop? loop = null;
        IDisposable Weights() => loop!.UseForOutput(options.Save.Ema);   // those to save and to draw with, until disposed
        run.Begin(RunEstimate.Of(options, family, data, TrainedSize.Of(adapter, options.Save.Precision)), data, (path, made) => Write(path, adapter, AdapterFacts.Of(options, options.Adapter, options.Save, family, made), Weights));

        // encode
        using var cache = new LatentCache(training.Cache == CacheKind.Disk ? training.CacheFolder ?? run.Folder.Cache : null, run);
        using var encoded = new EncodedData(family, data, cache, ModelIdentity.Of(options), TextUse.Of(options), run) { Holes = HoleMaking.Of(options, streams) };
        encoded.EncodeAhead(cancellation);
        var previews = new Previews(options, family, data, adapter, run);
        var before = previews.Draw(strength: 0, cancellation);

        // loop
        var parameters = TrainedParameters.Of(adapter, TrainedParts.Rates(options, adapter), TrainedParts.Unreached(options, family, adapter));
        using var optimizer = training.MakeOptimizer(parameters);
        using var average = training.MakeAverage(parameters);
        loop = new TrainingLoop(optimizer, training.MakeSchedule(), training.LoopOptions(training.Steps), average) { LimitNorms = WeightNorms.By(adapter, options.Adapter), Absent = adapter.TakeAbsent };
        previews.Weights = Weights;
        var sampler = RunOptions.MakeSampler(options, data, streams);
        run.Restore(loop, streams, sampler);
        adapter.DropoutStream = streams["dropout"];
        TrainedParts.SetCheckpointing(options, family, TrainedParts.PartsOf(adapter), streams);
        run.Watch(Validation.Of(options, family, encoded, adapter, Weights), loop.Position.Step, () => BlockNorms.Of(adapter));
        var step = new DenoisingStep(options, family, streams, encoded.Batches(sampler, () => TrainedParts.TextLearns(options, loop.Position.Step)), adapter);
        var finished = run.Guard(() => loop.Run(step.Score, _ => run.AfterStep(loop, streams, step.Drawn!, previews, cancellation), run, cancellation));

        // write
        var sheet = finished ? previews.WriteBeforeAfter(run.Folder, before, cancellation) : null;
        run.End(finished, loop.Position.Step, watch.Elapsed);
        return run.Result(finished, loop.Position.Step, watch.Elapsed, sheet, previews.Prompts);
    }

    private static void Write(string path, AdapterSet adapter, AdapterSaveOptions facts, Func<IDisposable> weights)
    {
        using var output = weights();
        AdapterWriter.Write(path, adapter, facts);
    }

    internal static IDiffusionFamily Open(IRunOptions options) =>
        FamilyDetector.Open(options.Model, TypeOf(options), widen: options.Inpainting is { Widen: true }, files: options.ModelFile);

    /// <summary>Element type of denoiser and text encoders.</summary>
    internal static ScalarType TypeOf(IRunOptions options) => options.Training.Precision == Precision.Bf16 ? ScalarType.BFloat16 : ScalarType.Float32;
}

/// <summary>The lines that matter: a batch, noise, timesteps, and how far the prediction is off.</summary>
internal sealed class DenoisingStep(IRunOptions options, IDiffusionFamily family, RandomStreams streams, Func<EncodedBatch> next, AdapterSet? adapter = null)
{
    private readonly StepNoise noise = new(options.Noise, options.Noise.ScheduleFor(family.Schedule), streams);
    private readonly DenoisingLoss loss = options.Loss.Make(options.Noise.ScheduleFor(family.Schedule), family.PredictionType, family.Predict, adapter);

    /// <summary>Where the data stood after the last batch; null before the first.</summary>
    public SamplerState? Drawn { get; private set; }

    /// <summary>The loss of the next micro-batch.</summary>
    public MicroBatchLoss Score(long micro)
    {
        var batch = next();
        Drawn = batch.Plan.State;
        var drawn = noise.Draw(batch.Latents);
        var scored = loss.Of(batch.Latents, batch.Conditioning, drawn.Noise, drawn.Timesteps, batch.Names, new BatchExtras
        {
            Perturbation = drawn.Perturbation,
            Beside = batch.Beside,
            TeacherConditioning = batch.Teacher,
            Masks = batch.Masks,
            Weights = options.Loss.ItemWeights([.. batch.Sets.Select(set => set.LossWeight)], [.. batch.Sets.Select(set => set.Prior)]),
        });
        return scored with { Uses = [.. scored.Uses!.Zip(batch.Plan.Samples, (use, sample) => use.Of(sample.Image.Name))] };
    }
}
