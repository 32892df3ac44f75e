using System.Diagnostics;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>
/// Trains whole parts of a model, every weight of them: the yardstick for adapters, and how a base model is made. Open, take the parts, encode, loop,
/// write a model that everything here opens.
/// </summary>
public static class TrainFull
{
    /// <summary>The same as <see cref="Run"/> on a thread of its own, for callers that await.</summary>
    public static Task<TrainingResult> RunAsync(TrainFullOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default) =>
        Task.Factory.StartNew(() => Run(options, progress, resume, cancellation), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>What a run would do, without writing anything.</summary>
    /// <exception cref="LowRankException">Options, model or data that cannot be used.</exception>
    public static TrainingPlan Plan(TrainFullOptions options)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        if (options.Full.IsAutoencoder) return TrainAutoencoder.Plan(options);
        if (options.Full.TellsPictures) return TrainTextEncoder.Plan(options);
        using var streams = new RandomStreams(options.Seed);
        using var family = WholeParts.Open(options);
        var data = RunOptions.ReadData(options, family, options.Data);
        using var trained = WholeParts.Take(options, family, streams);
        return RunEstimate.Of(options, family, data, WholeParts.SizeOf(options, family, trained));
    }

    /// <summary>Trains.</summary>
    /// <param name="options">Everything about the run.</param>
    /// <param name="progress">Hears of steps, saves, previews and warnings, on this thread.</param>
    /// <param name="resume">Goes on with the run in the output folder; the result has the same bytes as that of an uninterrupted run.</param>
    /// <param name="cancellation">Stops after the running step; the state is saved. Before the first step there is nothing to save.</param>
    /// <exception cref="LowRankException">Options, model or data that cannot be used, or a training that diverged: what it reached is saved.</exception>
    /// <exception cref="OperationCanceledException">Stopped before its first step; the output folder is as it was.</exception>
    public static TrainingResult Run(TrainFullOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        if (options.Full.IsAutoencoder) return TrainAutoencoder.Run(options, progress, resume, cancellation);
        if (options.Full.TellsPictures) return TrainTextEncoder.Run(options, progress, resume, cancellation);
        var (watch, training) = (Stopwatch.StartNew(), options.Training);

        // open
        using var run = TrainingRun.Open(options, resume, progress);
        using var streams = new RandomStreams(options.Seed);
        using var family = WholeParts.Open(options);
        using var trained = WholeParts.Take(options, family, streams);
        PriorPictures.Draw(options, family, adapter: null, run, cancellation);
        var data = RunOptions.ReadData(options, family, options.Data, cancellation);
        TrainingLoop? loop = null;
        IDisposable Weights() => loop!.UseForOutput(options.Save.Ema);   // those to save and to draw with, until disposed
        run.Begin(RunEstimate.Of(options, family, data, WholeParts.SizeOf(options, family, trained)), data, (path, made) => WholeParts.Write(path, options, family, made, Weights));

        // encode
        using var cache = new LatentCache(training.Cache == CacheKind.Disk ? training.CacheFolder ?? run.Folder.Cache : null, run);
        using var encoded = new EncodedData(family, data, cache, ModelIdentity.Of(options), TextUse.Of(options), run) { Holes = HoleMaking.Of(options, streams) };
        encoded.EncodeAhead(cancellation);
        var previews = new Previews(options, family, data, adapter: null, run);
        var before = previews.Draw(strength: 0, cancellation);

        // loop
        using var optimizer = WholeParts.Optimizer(options, trained, streams);
        using var average = training.MakeAverage(trained.Parameters);
        loop = new TrainingLoop(optimizer, training.MakeSchedule(), training.LoopOptions(training.Steps), average);
        previews.Weights = Weights;
        var sampler = RunOptions.MakeSampler(options, data, streams);
        run.Restore(loop, streams, sampler);
        WholeParts.SetCheckpointing(options, family, streams);
        run.Watch(Validation.Of(options, family, encoded, weights: Weights), loop.Position.Step);
        var step = new DenoisingStep(options, family, streams, encoded.Batches(sampler, () => true));
        var finished = run.Guard(() => loop.Run(step.Score, _ => run.AfterStep(loop, streams, step.Drawn!, previews, cancellation), run, cancellation));

        // write
        var sheet = finished ? previews.WriteBeforeAfter(run.Folder, before, cancellation) : null;
        run.End(finished, loop.Position.Step, watch.Elapsed);
        return run.Result(finished, loop.Position.Step, watch.Elapsed, sheet, previews.Prompts);
    }
}
