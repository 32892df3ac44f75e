using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What shows how a training goes.</summary>
internal interface IPreviews
{
    /// <summary>What is drawn now as the preview of a step, and what a run shows of all its previews.</summary>
    /// <returns>False when there is nothing to draw, or drawing was stopped.</returns>
    bool Write(RunFolder folder, long step, CancellationToken cancellation);
}

/// <summary>Pictures of the same prompts and seeds, before, while and after training.</summary>
internal sealed class Previews : IPreviews
{
    private const int SheetSide = 128;   // pictures of small models are drawn this large

    private readonly IRunOptions options;
    private readonly IDiffusionFamily family;
    private readonly AdapterSet? adapter;
    private readonly PreviewHoles? holes;
    private IReadOnlyList<RgbImage>? start;

    public Previews(IRunOptions options, IDiffusionFamily family, TrainingData data, AdapterSet? adapter, IProgress<TrainingEvent> events)
    {
        (this.options, this.family, this.adapter) = (options, family, adapter);
        Prompts = options.Preview.Prompts.Count > 0
            ? options.Preview.Prompts
            : [.. data.Images.Select(image => Captions.Plain(image.Caption, image.Options.CaptionRules)).Distinct().Take(options.Preview.Captions)];
        holes = PreviewHoles.Of(options, family, data, Prompts);
        foreach (var prompt in options.Preview.Prompts.Append(options.Preview.NegativePrompt ?? ""))
        {
            if (family.CutText(prompt) is { } cut) events.Report(new RunWarning($"a preview prompt is longer than the model's {family.PromptLength} tokens; cut away: {cut}"));
        }
    }

    /// <summary>One for each picture of a sheet; none when previews are switched off.</summary>
    public IReadOnlyList<string> Prompts { get; }

    /// <summary>Puts the weights to draw with into the adapter, until disposed; null: it draws with those it has.</summary>
    public Func<IDisposable>? Weights { get; set; }

    /// <summary>Draws every prompt.</summary>
    /// <param name="strength">Of the adapter, if there is one: 0 is the base model. Learned tokens are drawn as they are now.</param>
    /// <param name="cancellation">Ends between calls of the denoiser.</param>
    public IReadOnlyList<RgbImage> Draw(double strength, CancellationToken cancellation)
    {
        var generator = new ImageGenerator(family, SamplerCatalog.Create(options.Preview.Sampler, family.Schedule));
        var pictures = new List<RgbImage>();
        var dropout = adapter?.DropoutStream;
        SetAdapter(strength, null);
        try
        {
            foreach (var prompt in Prompts)
            {
                // streams of their own: drawing previews must not move those of the training
                using var streams = new RandomStreams(options.Seed + pictures.Count);
                using var scope = NewDisposeScope();
                var request = RequestFor(prompt);
                using var latents = generator.Latents(holes?.In(request, pictures.Count) ?? request, streams["preview"], cancellation);
                using var pixels = generator.Decode(latents);
                pictures.Add(Generate.ToImage(pixels));
            }
        }
        finally
        {
            SetAdapter(1, dropout);
            foreach (var part in Unused()) family.Release(part);   // training has no use for them; they are loaded again when asked for
        }
        if (strength == 0) start = pictures;
        return pictures;
    }

    /// <inheritdoc/>
    public bool Write(RunFolder folder, long step, CancellationToken cancellation)
    {
        if (Now(cancellation) is not { } now) return false;
        WriteStep(folder, step, now);
        return true;
    }

    /// <summary>The base's pictures above those of the adapter; where previews are drawn while training, these are the last of them.</summary>
    /// <returns>The path; null when there is nothing to draw, or drawing was stopped.</returns>
    public string? WriteBeforeAfter(RunFolder folder, IReadOnlyList<RgbImage> before, CancellationToken cancellation)
    {
        if (Now(cancellation) is not { } now) return null;
        WriteSheet(folder.BeforeAfter, [("before", before), ("after", now)]);
        if (options.Preview.Every > 0) WriteStep(folder, options.TotalSteps, now);
        return folder.BeforeAfter;
    }

    private void WriteStep(RunFolder folder, long step, IReadOnlyList<RgbImage> now)
    {
        if (start is not null && !File.Exists(folder.Preview(0))) WriteSheet(folder.Preview(0), [("before", start)]);
        WriteSheet(folder.Preview(step), [("now", now)]);
        PreviewSheet.Write(folder, Prompts, new PixelSize(now[0].Size.Width * ZoomOf(now), now[0].Size.Height * ZoomOf(now)));
    }

    private void SetAdapter(double strength, Generator? dropout)
    {
        if (adapter is not null) (adapter.Strength, adapter.DropoutStream) = (strength, dropout);
    }

    private GenerationRequest RequestFor(string prompt) => new()
    {
        Prompts = [prompt],
        NegativePrompts = options.Preview.NegativePrompt is { } negative ? [negative] : null,
        Height = family.DefaultSize,
        Width = family.DefaultSize,
        Steps = options.Preview.Steps,
        Guidance = new Guidance(options.Preview.Guidance),
        SkippedLayers = options.Training.ClipSkip - 1,
        NegativeSkippedLayers = options.Training.ClipSkip - 1,
    };

    /// <summary>What training does not need: the autoencoder, and text encoders, unless they learn.</summary>
    private IEnumerable<string> Unused() => !options.TextEncodersLearn ? family.ComponentNames.Skip(1).Append("vae") : ["vae"];

    /// <summary>What is drawn now. A stop while drawing is none of the run's: the step is made, and the loop will see it too.</summary>
    private IReadOnlyList<RgbImage>? Now(CancellationToken cancellation)
    {
        if (Prompts.Count == 0) return null;
        try
        {
            using var weights = Weights?.Invoke();
            return Draw(strength: 1, cancellation);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    private void WriteSheet(string path, List<(string Label, IReadOnlyList<RgbImage> Pictures)> rows)
    {
        if (holes is not null) rows.Insert(0, ("given", holes.Shown));
        var sheet = ImageGrid.Sheet([.. rows.Select(row => row.Pictures)], Prompts, rows.Count > 1 ? [.. rows.Select(row => row.Label)] : [], ZoomOf(rows[^1].Pictures));
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        ImageFile.WritePng(path, sheet, PreviewSheet.Texts(Prompts));
    }

    private static int ZoomOf(IReadOnlyList<RgbImage> pictures) => Math.Max(1, SheetSide / pictures[0].Size.Width);
}
