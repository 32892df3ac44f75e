using System.Diagnostics;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What a run left behind.</summary>
public sealed record TrainLoraResult
{
    /// <summary>True when all steps were made, false when the run was stopped; it can be resumed then.</summary>
    public required bool Finished { get; init; }

    /// <summary>Updates made.</summary>
    public required long Steps { get; init; }

    /// <summary>Wall time, model loading and previews included.</summary>
    public required double Seconds { get; init; }

    /// <summary>The adapter file.</summary>
    public required string Adapter { get; init; }

    /// <summary>The same prompts and seeds without and with the adapter.</summary>
    public required string BeforeAfter { get; init; }

    /// <summary>The plot of the loss.</summary>
    public required string LossPlot { get; init; }

    /// <summary>A prompt to try.</summary>
    public required string ExamplePrompt { get; init; }
}

/// <summary>
/// Trains a LoRA on the denoiser of a model: open, encode, attach, loop, write. One run after another may be made in one process.
/// </summary>
public static class TrainLora
{
    /// <summary>The same as <see cref="Run"/> on a thread of its own, for callers that await.</summary>
    public static Task<TrainLoraResult> RunAsync(TrainLoraOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default) =>
        Task.Factory.StartNew(() => Run(options, progress, resume, cancellation), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>What a run would do, without writing anything.</summary>
    /// <exception cref="LowRankException">Options, model or data that cannot be used.</exception>
    public static TrainingPlan Plan(TrainLoraOptions options)
    {
        TrainLoraOptions.ThrowIfAny(options.Validate(), "the options");
        using var streams = new RandomStreams(options.Seed);
        using var family = Open(options);
        var data = TrainingData.Read(options.Data, family.DefaultSize);
        using var adapter = Attach(options, family, streams);
        return RunEstimate.Of(options, family, data, adapter);
    }

    /// <summary>Trains.</summary>
    /// <param name="options">Everything about the run.</param>
    /// <param name="progress">Hears of steps, saves, previews and warnings, on this thread.</param>
    /// <param name="resume">Goes on with the run in the output folder; the result has the same bytes as that of an uninterrupted run.</param>
    /// <param name="cancellation">Stops after the running step; adapter and state are saved.</param>
    /// <exception cref="LowRankException">Options, model or data that cannot be used, or a training that diverged.</exception>
    public static TrainLoraResult Run(TrainLoraOptions options, IProgress<TrainingEvent>? progress = null, bool resume = false, CancellationToken cancellation = default)
    {
        TrainLoraOptions.ThrowIfAny(options.Validate(), "the options");
        var watch = Stopwatch.StartNew();
        var training = options.Training;
        using var old = resume ? TrainingState.OpenNewest(RunFolder.Open(options.Output).State) : null;
        old?.RequireSameOptions(ResumedOptions.Of(options));
        using var streams = new RandomStreams(options.Seed);
        using var family = Open(options);
        var data = TrainingData.Read(options.Data, family.DefaultSize, cancellation);
        using var adapter = Attach(options, family, streams);
        var plan = RunEstimate.Of(options, family, data, adapter);

        var folder = resume ? RunFolder.Open(options.Output) : RunFolder.Create(options.Output, RunEstimate.DiskBytes(options, plan));
        if (!resume) WholeFile.Write(folder.Recipe, System.Text.Encoding.UTF8.GetBytes(RecipeFile.Write(options)));
        using var recorder = new RunRecorder(folder, progress, resume ? old?.Position.Step ?? 0 : null);
        recorder.Report(new RunStarted(plan, old?.Position.Step ?? 0));
        using var cache = new LatentCache(training.Cache == CacheKind.Disk ? folder.Cache : null, recorder);
        using var encoded = new EncodedData(family, data, cache, options.Model, recorder);
        var previews = new Previews(options, family, data, folder, adapter);
        encoded.EncodeAhead(cancellation);
        var before = previews.DrawBefore(cancellation);

        var parameters = TrainedParameters.Of(adapter, new ParameterGroup(training.LearningRate, training.WeightDecay));
        using IOptimizer optimizer = training.Optimizer == OptimizerKind.Sgd
            ? new Sgd(parameters, training.Momentum)
            : new AdamW(parameters, training.Beta1, training.Beta2, training.Epsilon);
        var schedule = LearningRateSchedule.Of(training.Schedule, training.Steps, training.WarmupSteps, training.Cycles, training.Power);
        var loop = new TrainingLoop(optimizer, schedule, new TrainingLoopOptions(training.Steps, training.Accumulation, training.MaxGradientNorm));
        var loss = new DenoisingLoss(family.Schedule, family.PredictionType, new LossWeighting { MinSnrGamma = training.MinSnrGamma > 0 ? training.MinSnrGamma : null }, family.Predict);
        var timesteps = TimestepSampler.Range(family.Schedule, training.MinTimestep, training.MaxTimestep + 1);
        var sampler = new BatchSampler(data.Images, new SamplerOptions { BatchSize = training.BatchSize, Accumulation = training.Accumulation, MaxSteps = training.Steps }, streams);
        old?.Restore(loop, streams);
        if (old is not null) sampler.Restore(old.Data);
        var drawn = sampler.Save();
        var next = encoded.Batches(sampler);

        bool finished;
        try
        {
            adapter.DropoutStream = streams["dropout"];
            finished = loop.Run(Score, Between, recorder, cancellation);
        }
        catch (TrainingDivergedException problem)
        {
            recorder.Report(new RunStopped(loop.Position.Step, problem.Message));
            throw;
        }
        adapter.DropoutStream = null;
        Save();
        recorder.WriteLossPlot();
        if (finished)
        {
            Write(folder.Adapter);
            previews.WriteBeforeAfter(before, cancellation);
            recorder.Report(new RunFinished(loop.Position.Step, folder.Adapter, watch.Elapsed.TotalSeconds));
        }
        else
        {
            recorder.Report(new RunStopped(loop.Position.Step, "interrupted"));
        }
        return new TrainLoraResult
        {
            Finished = finished,
            Steps = loop.Position.Step,
            Seconds = watch.Elapsed.TotalSeconds,
            Adapter = folder.Adapter,
            BeforeAfter = folder.BeforeAfter,
            LossPlot = folder.LossPlot,
            ExamplePrompt = previews.Prompts[0],
        };

        MicroBatchLoss Score(long micro)
        {
            var batch = next();
            drawn = batch.Plan.State!;
            var noise = TrainingNoise.Draw(batch.Latents.shape, training.NoiseOffset, streams["noise"]);
            return loss.Of(batch.Latents, batch.Conditioning, noise, timesteps.Draw(batch.Plan.Samples.Count, streams["timestep"]), batch.Names);
        }

        void Between(long step)
        {
            if (training.SaveEvery > 0 && step % training.SaveEvery == 0 && step < training.Steps) Save();
            if (options.Preview.Every == 0 || step % options.Preview.Every != 0 || step == training.Steps) return;
            adapter.DropoutStream = null;
            recorder.Report(new PreviewWritten(step, previews.Write(step, cancellation)));
            adapter.DropoutStream = streams["dropout"];
        }

        void Save()
        {
            var path = folder.SavedAdapter(loop.Position.Step);
            Write(path);
            folder.KeepNewest(training.Keep);
            using var state = TrainingState.Of(loop, streams, drawn, ResumedOptions.Of(options));
            state.Save(folder.State);
            recorder.Report(new RunSaved(loop.Position.Step, path));
        }

        void Write(string path) => AdapterWriter.Write(path, adapter, AdapterFacts.Of(options, family, loop.Position.Step));
    }

    private static IDiffusionFamily Open(TrainLoraOptions options) =>
        FamilyDetector.Open(options.Model, options.Training.Precision == Precision.Bf16 ? ScalarType.BFloat16 : ScalarType.Float32);

    private static AdapterSet Attach(TrainLoraOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        if (family.DenoiserChannels != family.LatentChannels) throw new OptionsException($"model: {options.Model} is an inpainting model ({family.DenoiserChannels} input channels); training those is not offered yet: take the model it was made from");
        return AdapterSet.Create(new Dictionary<string, nn.Module> { ["unet"] = family.Component("unet") }, options.Adapter, streams["init"], CPU);
    }
}
