using System.Diagnostics;
using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// Learns new words (Gal et al. 2022, arXiv 2208.01618): open, place the words, encode pictures, loop, write. Only the vectors of the words change:
/// they lie beside the text encoders, whose own tables are never touched.
/// </summary>
public static class TrainTextualInversion
{
    /// <summary>The same as <see cref="Run"/> on a thread of its own, for callers that await.</summary>
    public static Task<TrainingResult> RunAsync(TrainTextualInversionOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default) =>
        Task.Factory.StartNew(() => Run(options, progress, resume, cancellation), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>What a run would do, without writing anything.</summary>
    /// <exception cref="LowRankException">Options, model or data that cannot be used.</exception>
    public static TrainingPlan Plan(TrainTextualInversionOptions options)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        using var streams = new RandomStreams(options.Seed);
        using var family = TrainLora.Open(options);
        using var tokens = MakeTokens(options, family, streams);
        return RunEstimate.Of(options, family, TokenTraining.ReadData(options, options.Tokens, options.Template, family), SizeOf(options, tokens));
    }

    /// <summary>Trains.</summary>
    /// <param name="options">Everything about the run.</param>
    /// <param name="progress">Hears of steps, saves, previews and warnings, on this thread.</param>
    /// <param name="resume">Goes on with the run in the output folder; the result has the same bytes as that of an uninterrupted run.</param>
    /// <param name="cancellation">Stops after the running step; tokens and state are saved. Before the first step there is nothing to save.</param>
    /// <exception cref="LowRankException">Options, model or data that cannot be used, or a training that diverged: what it reached is saved.</exception>
    /// <exception cref="OperationCanceledException">Stopped before its first step; the output folder is as it was.</exception>
    public static TrainingResult Run(TrainTextualInversionOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var (watch, training) = (Stopwatch.StartNew(), options.Training);

        // open
        using var run = TrainingRun.Open(options, resume, progress);
        using var streams = new RandomStreams(options.Seed);
        using var family = TrainLora.Open(options);
        using var tokens = MakeTokens(options, family, streams);
        var data = TokenTraining.ReadData(options, options.Tokens, options.Template, family, cancellation);
        TrainingLoop? loop = null;
        IDisposable Weights() => loop!.UseForOutput(averaged: true);   // those to save and to draw with, until disposed
        run.Begin(RunEstimate.Of(options, family, data, SizeOf(options, tokens)), data, Write);

        // encode
        using var cache = new LatentCache(training.Cache == CacheKind.Disk ? training.CacheFolder ?? run.Folder.Cache : null, run);
        using var encoded = new EncodedData(family, data, cache, ModelIdentity.Of(options), TextUse.Of(options) with { AreTrained = true }, run) { Holes = HoleMaking.Of(options, streams) };
        encoded.EncodeAhead(cancellation);
        var previews = new Previews(options, family, data, adapter: null, run);
        var before = previews.Draw(strength: 0, cancellation);

        // loop
        var parameters = TrainedParameters.Of(tokens, new ParameterGroup(training.LearningRate, training.WeightDecay));
        using var optimizer = training.MakeOptimizer(parameters);
        using var average = training.MakeAverage(parameters);
        var schedule = training.MakeSchedule();
        loop = new TrainingLoop(optimizer, schedule, training.LoopOptions(training.Steps), average);
        previews.Weights = Weights;
        TrainedParts.SetCheckpointing(options, family, family.ComponentNames, streams);
        var sampler = RunOptions.MakeSampler(options, data, streams);
        run.Restore(loop, streams, sampler);
        run.Watch(Validation.Of(options, family, encoded, weights: Weights), loop.Position.Step, () => BlockNorms.Of(tokens));
        var step = new DenoisingStep(options, family, streams, encoded.Batches(sampler, () => true));
        var finished = run.Guard(() => loop.Run(step.Score, Between, run, cancellation));

        // write
        var sheet = finished ? previews.WriteBeforeAfter(run.Folder, before, cancellation) : null;
        run.End(finished, loop.Position.Step, watch.Elapsed);
        using var output = Weights();
        var files = finished ? TokenTraining.WriteEach(run.Folder, tokens, options.Embeddings, AdapterFacts.OfRun(options, family, loop.Position.Step)) : [];
        return run.Result(finished, loop.Position.Step, watch.Elapsed, sheet, previews.Prompts) with { Embeddings = files };

        void Between(long made)
        {
            TokenTraining.PullNorms(tokens, options.TokenNorm, training.LearningRate * schedule.Multiplier(made - 1));
            run.AfterStep(loop, streams, step.Drawn!, previews, cancellation);
        }

        void Write(string path, long made)
        {
            using var output = Weights();
            using var scope = NewDisposeScope();
            SafetensorsWriter.Write(path, EmbeddingWriter.Bundle(path, tokens.Tokens, AdapterFacts.TypeOf(options.Embeddings.Precision).ToScalarType()), AdapterFacts.OfRun(options, family, made));
        }
    }

    /// <summary>The words at their start, in the model.</summary>
    private static EmbeddingSet MakeTokens(TrainTextualInversionOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        ModelFit.Require(options, family);
        using var scope = NewDisposeScope();
        var tokens = new EmbeddingSet(TokenTraining.Starts(options.Tokens, family, streams["init"]), CPU);
        family.Place(tokens);
        return tokens;
    }

    private static TrainedSize SizeOf(TrainTextualInversionOptions options, EmbeddingSet tokens) => new(0, tokens.FlatParameters.numel(), options.Embeddings.Precision, [.. tokens.Components]);
}
