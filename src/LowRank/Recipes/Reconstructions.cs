using System.Globalization;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What an autoencoder made of pictures.</summary>
/// <param name="Pictures">The first few.</param>
/// <param name="Psnr">Mean over all that were measured, in decibels.</param>
internal sealed record ReconstructedPictures(IReadOnlyList<RgbImage> Pictures, double Psnr);

/// <summary>
/// Pictures of the data as an autoencoder brings them back, by the mean of its posterior, cut from the middle: some on a sheet, more of them measured.
/// </summary>
internal sealed class Reconstructions : IPreviews
{
    private const int MostMeasured = 128, SheetSide = 128;

    private readonly IDiffusionFamily family;
    private readonly TrainingData data;
    private readonly IProgress<TrainingEvent> events;
    private readonly Func<long> step;
    private readonly List<Sample> measured;
    private readonly List<Sample> shown;

    /// <param name="options">The recipe.</param>
    /// <param name="family">The model; stays the caller's.</param>
    /// <param name="data">The pictures.</param>
    /// <param name="events">Hears of every measurement.</param>
    /// <param name="step">Updates made so far.</param>
    public Reconstructions(TrainFullOptions options, IDiffusionFamily family, TrainingData data, IProgress<TrainingEvent> events, Func<long> step)
    {
        (this.family, this.data, this.events, this.step) = (family, data, events, step);
        var count = Math.Min(MostMeasured, data.Images.Count);
        measured = [.. Enumerable.Range(0, count).Select(index => Whole(data.Images[(int)((long)index * data.Images.Count / count)]))];
        shown = [.. measured.Where(sample => sample.Placement.Size == measured[0].Placement.Size).Take(options.Preview.Captions)];
    }

    /// <summary>Puts the weights to show into the model, until disposed; null: it shows those it has.</summary>
    public Func<IDisposable>? Weights { get; set; }

    /// <summary>Brings all of them back with the weights that the model has now.</summary>
    public ReconstructedPictures Make(CancellationToken cancellation)
    {
        using var quiet = no_grad();
        var (pictures, sum) = (new List<RgbImage>(), 0.0);
        foreach (var sample in measured)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var pixels = PixelsOf(sample);
            var back = family.DecodeLatents(family.EncodeImages(pixels, null)).cpu().Within(-1, 1);
            sum += -10 * Math.Log10((back - pixels).to(ScalarType.Float64).Over(2).Squared().mean().item<double>());   // of brightness in 0 to 1
            if (shown.Contains(sample)) pictures.Add(Generate.ToImage(back));
        }
        var psnr = sum / measured.Count;
        events.Report(new ReconstructionMeasured(step(), measured.Count, psnr));
        return new ReconstructedPictures(pictures, psnr);
    }

    /// <inheritdoc/>
    public bool Write(RunFolder folder, long step, CancellationToken cancellation) => WriteSheet(folder.Preview(step), null, cancellation);

    /// <summary>The pictures above what was made of them before and is made of them now.</summary>
    /// <returns>The path; null when there is nothing to show, or it was stopped.</returns>
    public string? WriteBeforeAfter(string path, ReconstructedPictures before, CancellationToken cancellation) => WriteSheet(path, before, cancellation) ? path : null;

    /// <summary>What the latents of all pictures are like with the weights that the model has now, each picture cut from the middle.</summary>
    public LatentStatistics Latents()
    {
        using var all = NewDisposeScope();
        using var quiet = no_grad();
        var (sums, squares, count) = (zeros(family.LatentChannels, ScalarType.Float64), zeros(family.LatentChannels, ScalarType.Float64), 0L);
        foreach (var image in data.Images)
        {
            using var scope = NewDisposeScope();
            var latents = family.EncodeImages(PixelsOf(Whole(image)), null).cpu().to(ScalarType.Float64);
            sums.AddInPlace(latents.sum([0, 2, 3]));
            squares.AddInPlace(latents.Squared().sum([0, 2, 3]));
            count += latents.numel() / family.LatentChannels;
        }
        var means = sums.Over(count);
        return new LatentStatistics(means.data<double>().ToArray(), (squares.Over(count) - means.Squared()).sqrt().data<double>().ToArray());
    }

    /// <summary>A stop while drawing is none of the run's: the step is made, and the loop will see it too.</summary>
    private bool WriteSheet(string path, ReconstructedPictures? before, CancellationToken cancellation)
    {
        try
        {
            using var weights = Weights?.Invoke();
            var now = Make(cancellation);
            if (shown.Count == 0) return false;
            using var scope = NewDisposeScope();
            List<(string Label, IReadOnlyList<RgbImage> Pictures)> rows = [("given", [.. shown.Select(sample => Generate.ToImage(PixelsOf(sample)))])];
            if (before is not null) rows.Add((Label("before", before), before.Pictures));
            rows.Add((Label(before is null ? "now" : "after", now), now.Pictures));
            var labels = shown.Select(sample => Captions.Plain(sample.Image.Caption, sample.Image.Options.CaptionRules));
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            ImageFile.WritePng(path, ImageGrid.Sheet([.. rows.Select(row => row.Pictures)], [.. labels], [.. rows.Select(row => row.Label)], Math.Max(1, SheetSide / shown[0].Placement.Size.Width)));
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private static string Label(string word, ReconstructedPictures made) => string.Create(CultureInfo.InvariantCulture, $"{word}, {made.Psnr:0.0} dB");

    private static Sample Whole(TrainingImage image) => new(image, image.Centre(flip: false), "");

    private static Tensor PixelsOf(Sample sample) => BatchLoader.Load(new PlannedBatch([sample], null)).ToTensor();
}
