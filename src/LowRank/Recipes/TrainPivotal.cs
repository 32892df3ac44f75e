using System.Diagnostics;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>
/// Pivotal tuning (Roich et al. 2021, arXiv 2106.05744, as the package of 2022 took it over): learn a word, then an adapter around it.
/// Open, place the words, encode, invert, tune, write.
/// </summary>
public static class TrainPivotal
{
    /// <summary>The same as <see cref="Run"/> on a thread of its own, for callers that await.</summary>
    public static Task<TrainingResult> RunAsync(TrainPivotalOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default) =>
        Task.Factory.StartNew(() => Run(options, progress, resume, cancellation), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>What a run would do, without writing anything.</summary>
    /// <exception cref="LowRankException">Options, model or data that cannot be used.</exception>
    public static TrainingPlan Plan(TrainPivotalOptions options)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        using var streams = new RandomStreams(options.Seed);
        using var family = TrainLora.Open(options);
        using var parts = new PivotalParts(options, family, streams);
        return RunEstimate.Of(options, family, TokenTraining.ReadData(options, options.Tokens, options.Template, family), parts.Size);
    }

    /// <summary>Trains.</summary>
    /// <param name="options">Everything about the run.</param>
    /// <param name="progress">Hears of steps, saves, previews and warnings, on this thread. Steps are counted through both phases.</param>
    /// <param name="resume">Goes on with the run in the output folder, in whichever phase it was; the result has the same bytes as that of an uninterrupted run.</param>
    /// <param name="cancellation">Stops after the running step; words, adapter and state are saved. Before the first step there is nothing to save.</param>
    /// <exception cref="LowRankException">Options, model or data that cannot be used, or a training that diverged: what it reached is saved.</exception>
    /// <exception cref="OperationCanceledException">Stopped before its first step, and the output folder is as it was; or between the phases, after a save.</exception>
    public static TrainingResult Run(TrainPivotalOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var (watch, training) = (Stopwatch.StartNew(), options.Training);

        // open
        using var run = TrainingRun.Open(options, resume, progress);
        using var streams = new RandomStreams(options.Seed);
        using var family = TrainLora.Open(options);
        using var parts = new PivotalParts(options, family, streams);
        PriorPictures.Draw(options, family, parts.Adapter, run, cancellation);
        var data = TokenTraining.ReadData(options, options.Tokens, options.Template, family, cancellation);
        PhasedTraining? begun = null;
        IDisposable Weights() => begun!.UseForOutput();   // those to save and to draw with, until disposed
        run.Begin(RunEstimate.Of(options, family, data, parts.Size), data, Write);

        // encode
        using var cache = new LatentCache(training.Cache == CacheKind.Disk ? training.CacheFolder ?? run.Folder.Cache : null, run);
        var identity = ModelIdentity.Of(options);
        using var captioned = new EncodedData(family, data, cache, identity, TextUse.Of(options) with { AreTrained = true }, run) { Holes = HoleMaking.Of(options, streams) };
        captioned.EncodeAhead(cancellation);
        var previews = new Previews(options, family, data, parts.Adapter, run);
        var before = previews.Draw(strength: 0, cancellation);
        using var phases = new PhasedTraining(options, run, streams, family, RunOptions.MakeSampler(options, data, streams)) { OutputsAverage = options.Save.Ema, Norms = parts.Norms };
        (begun, previews.Weights) = (phases, Weights);
        TrainedParts.SetCheckpointing(options, family, family.ComponentNames, streams);

        // invert, tune
        var finished = run.Guard(() => Invert() && Tune());

        // write
        var sheet = finished ? previews.WriteBeforeAfter(run.Folder, before, cancellation) : null;
        run.End(finished, phases.Step, watch.Elapsed);
        var result = run.Result(finished, phases.Step, watch.Elapsed, sheet, previews.Prompts);
        using var weights = Weights();
        return finished ? result with { Embeddings = parts.WriteEachAlone(run.Folder, family, phases.Step) } : result;

        bool Invert()
        {
            if (options.Inversion.Steps == 0 || run.ResumesAt > options.Inversion.Steps) return true;
            parts.Adapter.Detach();   // it changes nothing yet, and would only cost time
            var loop = phases.Begin(new(parts.OfTokens, options.Inversion.MakeSchedule(), options.Inversion.Steps));
            return phases.Run(loop, captioned, () => true, After(options.Inversion.LearningRate, options.Inversion.MakeSchedule(), 0), cancellation);
        }

        bool Tune()
        {
            parts.Adapter.Attach();
            parts.Adapter.DropoutStream = streams["dropout"];
            parts.Tokens.RequireGradients(options.Inversion.TuningLearningRate > 0);
            var loop = phases.Begin(new(parts.OfAll(family), new LearningRateSchedule.Later(options.Inversion.Steps, training.MakeSchedule()), parts.TotalSteps, (parts.Adapter, options.Adapter)));
            if (cancellation.IsCancellationRequested) return false;
            using var encoded = options.Inversion.TuningLearningRate > 0 || options.TextEncoder is not null ? null : new EncodedData(family, data, cache, identity.WithTokens(parts.Tokens), TextUse.Of(options), run) { Holes = HoleMaking.Of(options, streams) };
            encoded?.EncodeAhead(cancellation, warn: false);
            return phases.Run(loop, encoded ?? captioned, () => parts.TextLearns(loop.Position.Step), After(options.Inversion.TuningLearningRate, training.MakeSchedule(), options.Inversion.Steps), cancellation);
        }

        void Write(string path, long made)
        {
            using var output = Weights();
            parts.Write(path, family, made, withTokens: true);
        }

        Action<TrainingLoop, SamplerState> After(double tokenRate, LearningRateSchedule schedule, long firstStep) => (loop, drawn) =>
        {
            if (tokenRate > 0) TokenTraining.PullNorms(parts.Tokens, options.TokenNorm, tokenRate * schedule.Multiplier(loop.Position.Step - 1 - firstStep));
            run.AfterStep(loop, streams, drawn, previews, cancellation);
        };
    }
}
