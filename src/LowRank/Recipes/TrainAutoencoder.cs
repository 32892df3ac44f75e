using System.Diagnostics;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// Full training of an autoencoder: pictures in, the same pictures asked back (Rombach et al. 2022, §3.1, without their perceptual and adversarial parts).
/// Open, take the part, loop, write.
/// </summary>
internal static class TrainAutoencoder
{
    /// <summary>As <see cref="TrainFull.Plan"/>.</summary>
    public static TrainingPlan Plan(TrainFullOptions options)
    {
        using var streams = new RandomStreams(options.Seed);
        using var family = WholeParts.Open(options);
        var data = RunOptions.ReadData(options, family, options.Data);
        using var trained = WholeParts.Take(options, family, streams);
        return RunEstimate.OfAutoencoder(options, family, data, WholeParts.SizeOf(options, family, trained));
    }

    /// <summary>As <see cref="TrainFull.Run"/>.</summary>
    public static TrainingResult Run(TrainFullOptions options, IProgress<TrainingEvent>? progress, bool resume, CancellationToken cancellation)
    {
        var (watch, training) = (Stopwatch.StartNew(), options.Training);

        // open
        using var run = TrainingRun.Open(options, resume, progress);
        using var streams = new RandomStreams(options.Seed);
        using var family = WholeParts.Open(options);
        var data = RunOptions.ReadData(options, family, options.Data, cancellation);
        using var trained = WholeParts.Take(options, family, streams);
        TrainingLoop? loop = null;
        IDisposable Weights() => loop!.UseForOutput(options.Save.Ema);   // those to save and to show, until disposed
        var pictures = new Reconstructions(options, family, data, run, () => loop?.Position.Step ?? 0);
        run.Begin(RunEstimate.OfAutoencoder(options, family, data, WholeParts.SizeOf(options, family, trained)), data, Write);
        var before = pictures.Make(cancellation);

        // loop
        using var optimizer = training.MakeOptimizer(trained.Parameters);
        using var average = training.MakeAverage(trained.Parameters);
        loop = new TrainingLoop(optimizer, training.MakeSchedule(), training.LoopOptions(training.Steps), average);
        pictures.Weights = Weights;
        var sampler = RunOptions.MakeSampler(options, data, streams);
        run.Restore(loop, streams, sampler);
        using var loader = new BatchLoader(sampler.Next);
        var step = new ReconstructionStep(options.Vae ?? new AutoencoderOptions(), family, streams, loader, options.Vae?.LatentNoise > 0 ? pictures.Latents() : null);
        var finished = run.Guard(() => loop.Run(step.Score, _ => run.AfterStep(loop, streams, step.Drawn!, pictures, cancellation), run, cancellation));

        // write
        var sheet = finished ? pictures.WriteBeforeAfter(run.Folder.BeforeAfter, before, cancellation) : null;
        run.End(finished, loop.Position.Step, watch.Elapsed);
        return run.Result(finished, loop.Position.Step, watch.Elapsed, sheet, []);

        void Write(string path, long made)
        {
            using var output = Weights();
            var latents = options.Vae?.Standardize == true ? pictures.Latents() : null;
            family.Write(path, AdapterFacts.TypeOf(options.Save.Precision).ToScalarType(), AdapterFacts.OfRun(options, family, made), latents);
        }
    }
}

/// <summary>The lines that matter: pictures, changed by chance, through the autoencoder, and how far what comes back is off.</summary>
/// <param name="options">What is asked of it.</param>
/// <param name="family">The model.</param>
/// <param name="streams">Of the run.</param>
/// <param name="loader">Reads the pictures.</param>
/// <param name="latents">What the latents of the pictures are like; only for noise on them.</param>
internal sealed class ReconstructionStep(AutoencoderOptions options, IDiffusionFamily family, RandomStreams streams, BatchLoader loader, LatentStatistics? latents)
{
    private readonly PixelChanges changes = new(options, new StreamDraws(streams["pixels"]));
    private readonly ReconstructionLoss loss = options.MakeLoss();

    /// <summary>Where the data stood after the last batch; null before the first.</summary>
    public SamplerState? Drawn { get; private set; }

    /// <summary>The loss of the next micro-batch.</summary>
    public MicroBatchLoss Score(long micro)
    {
        var batch = loader.Next()!;
        Drawn = batch.Plan.State;
        using var read = batch.ToTensor();
        var pixels = changes.Apply(read);
        using var made = options.DecoderOnly ? Decode(pixels) : family.Reconstruct(pixels, streams["noise"]);
        return loss.Of(pixels, made, [.. batch.Samples.Select(sample => sample.Image.Path)]);
    }

    /// <summary>Pictures from latents that stay as they are but for noise: their divergence is no matter.</summary>
    private Reconstruction Decode(Tensor pixels)
    {
        using var scope = NewDisposeScope();
        var given = Encode(pixels);
        return new Reconstruction(family.DecodeLatents(given).MoveToOuterDisposeScope(), zeros(given.size(0)).MoveToOuterDisposeScope());
    }

    private Tensor Encode(Tensor pixels)
    {
        using var quiet = no_grad();
        var exact = family.EncodeImages(pixels, streams["noise"]);   // (B, C, h, w), scaled
        if (latents is null) return exact;
        var deviations = tensor(latents.Deviations.Select(deviation => (float)(options.LatentNoise * deviation)).ToArray()).view(1, -1, 1, 1);
        return exact.Plus(randn(exact.shape, generator: streams["noise"]) * deviations);
    }
}
