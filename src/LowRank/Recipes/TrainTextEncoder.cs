using System.Diagnostics;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Training;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// A text encoder learns alone, before any denoiser: from a caption it says the blurred latents of its picture. A stand-in for CLIP's training that takes minutes.
/// Open, encode, take the part, loop, write.
/// </summary>
internal static class TrainTextEncoder
{
    /// <summary>As <see cref="TrainFull.Plan"/>.</summary>
    public static TrainingPlan Plan(TrainFullOptions options)
    {
        using var streams = new RandomStreams(options.Seed);
        using var family = WholeParts.Open(options);
        var data = RunOptions.ReadData(options, family, options.Data);
        WholeParts.Draw(options, family, streams);
        using var head = MakeHead(options, family, data, streams);
        using var trained = WholeParts.Move(options, family, ("head", head));
        return RunEstimate.OfTextEncoder(options, family, data, WholeParts.SizeOf(options, family, trained));
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
        WholeParts.Draw(options, family, streams);
        using var head = MakeHead(options, family, data, streams);
        using var trained = WholeParts.Move(options, family, ("head", head));   // the head is in the state, and not in what is written
        TrainingLoop? loop = null;
        run.Begin(RunEstimate.OfTextEncoder(options, family, data, WholeParts.SizeOf(options, family, trained)), data, (path, made) => WholeParts.Write(path, options, family, made, () => loop!.UseForOutput(options.Save.Ema)));

        // encode
        using var cache = new LatentCache(training.Cache == CacheKind.Disk ? training.CacheFolder ?? run.Folder.Cache : null, run);
        using var encoded = new EncodedData(family, data, cache, ModelIdentity.Of(options), TextUse.Of(options), run);
        encoded.EncodeAhead(cancellation);
        using var pictures = new BlurredPictures(encoded, data);

        // loop
        using var optimizer = WholeParts.Optimizer(options, trained, streams);
        using var average = training.MakeAverage(trained.Parameters);
        loop = new TrainingLoop(optimizer, training.MakeSchedule(), training.LoopOptions(training.Steps), average);
        var sampler = RunOptions.MakeSampler(options, data, streams);
        run.Restore(loop, streams, sampler);
        WholeParts.SetCheckpointing(options, family, streams);
        var step = new CaptionStep(head, pictures, encoded.Batches(sampler, () => true));
        var finished = run.Guard(() => loop.Run(step.Score, _ => run.AfterStep(loop, streams, step.Drawn!, new NoPreviews(), cancellation), run, cancellation));

        // write
        run.End(finished, loop.Position.Step, watch.Elapsed);
        return run.Result(finished, loop.Position.Step, watch.Elapsed, null, []);
    }

    /// <summary>A head with random weights for the model's states and the pictures' latents.</summary>
    /// <exception cref="OptionsException">A model with several text encoders; pictures of several sizes, or too small.</exception>
    private static BlurredPictureHead MakeHead(TrainFullOptions options, IDiffusionFamily family, TrainingData data, RandomStreams streams)
    {
        const string Key = "full.objective: blurred-picture";
        if (family.ComponentNames.Count > 2) throw new OptionsException($"{Key}; {options.Model} ({family.Name}) has {string.Join(" and ", family.ComponentNames.Skip(1))}: made for models with one text encoder");
        var sizes = data.Images.Select(image => image.Choice.Bucket).Distinct().OrderBy(size => size.Width).ThenBy(size => size.Height).ToList();
        if (sizes.Count > 1) throw new OptionsException($"{Key}; all pictures must have one size, and these have {string.Join(", ", sizes)}: set buckets = false, and one resolution, in every [[data]] table");
        var (height, width) = (sizes[0].Height / family.LatentFactor / BlurredPictures.Blur, sizes[0].Width / family.LatentFactor / BlurredPictures.Blur);
        if (height * width == 0) throw new OptionsException(Invariant($"{Key}; pictures of {sizes[0]} leave nothing when they are blurred: take {BlurredPictures.Blur * family.LatentFactor} pixels or more as resolution"));
        using var quiet = no_grad();
        using var states = family.EncodePrompts([""], TextUse.Of(options).Prompts);
        return DrawnNetwork.Of(new BlurredPictureHead(states.Hidden.size(2), family.LatentChannels * height * width, LayerFactory.Meta), streams["init"], TrainLora.TypeOf(options), CPU);
    }

    /// <summary>A text encoder draws nothing.</summary>
    private sealed class NoPreviews : IPreviews
    {
        public bool Write(RunFolder folder, long step, CancellationToken cancellation) => false;
    }
}

/// <summary>What captions are asked for: scaled latents, blurred, less the mean over all uses of the pictures. Owns that mean.</summary>
internal sealed class BlurredPictures : IDisposable
{
    /// <summary>Side of the squares of latents that become one.</summary>
    public const int Blur = 2;

    private readonly Tensor mean;   // (N) float32
    private readonly double variance;

    /// <param name="encoded">Holds the latents of all pictures.</param>
    /// <param name="data">The pictures; none is cut at random.</param>
    /// <exception cref="DatasetException">There is nothing to tell pictures apart by.</exception>
    public BlurredPictures(EncodedData encoded, TrainingData data)
    {
        using var all = NewDisposeScope();
        using var quiet = no_grad();
        var numbers = Blurred(encoded.LatentsOf(data.Images[0].Settled())).size(1);
        var (sums, squares, uses) = (zeros(numbers, ScalarType.Float64), zeros(numbers, ScalarType.Float64), 0.0);
        foreach (var image in data.Images)
        {
            bool[] flips = image.Options.Flip ? [false, true] : [false];
            var share = (double)image.Repeats / flips.Length;
            foreach (var flip in flips)
            {
                using var scope = NewDisposeScope();
                var blurred = Blurred(encoded.LatentsOf(new Sample(image, image.Centre(flip), ""))).to(ScalarType.Float64)[0];
                sums.AddInPlace(blurred.Times(share));
                squares.AddInPlace(blurred.Squared().Times(share));
                uses += share;
            }
        }
        var exact = sums.Over(uses);
        variance = (squares.Over(uses) - exact.Squared()).mean().item<double>();
        if (variance < 1e-12) throw new DatasetException("full.objective: blurred-picture; all pictures are alike, and no caption could say more of one than another: add others");
        mean = exact.to(ScalarType.Float32).DetachFromDisposeScope();
    }

    /// <summary>How much of the pictures stays untold: the mean squared error as a part of the variance of all pictures. 1 for who always says the mean.</summary>
    /// <param name="told">(B, N) float32.</param>
    /// <param name="latents">(B, C, h, w) float32, scaled.</param>
    /// <returns>(B) float32.</returns>
    public Tensor Unexplained(Tensor told, Tensor latents)
    {
        using var scope = NewDisposeScope();
        return (told - (Blurred(latents) - mean)).Squared().mean([1]).Over(variance).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose() => mean.Dispose();

    private static Tensor Blurred(Tensor latents) => nn.functional.avg_pool2d(latents, Blur).flatten(1);   // (B, N)
}

/// <summary>The lines that matter: captions through text encoder and head, and how much of the pictures stays untold.</summary>
internal sealed class CaptionStep(BlurredPictureHead head, BlurredPictures pictures, Func<EncodedBatch> next)
{
    /// <summary>Where the data stood after the last batch; null before the first.</summary>
    public SamplerState? Drawn { get; private set; }

    /// <summary>The loss of the next micro-batch.</summary>
    public MicroBatchLoss Score(long micro)
    {
        var batch = next();
        Drawn = batch.Plan.State;
        var told = head.call(batch.Conditioning.Hidden).to(ScalarType.Float32);
        var unexplained = pictures.Unexplained(told, batch.Latents);   // (B)
        return new MicroBatchLoss(unexplained.mean(), unexplained.detach().cpu().data<float>().ToArray(), batch.Names);
    }
}
