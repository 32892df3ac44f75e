using System.Globalization;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// The prior pictures of <see cref="PriorOptions"/>: drawn by the base alone, one file each, with a note beside them of what made them. Each depends on its
/// seed alone, so that a drawing that was cut off goes on to the same pictures.
/// </summary>
internal static class PriorPictures
{
    /// <summary>Draws those that are missing; does nothing without <c>[prior]</c>.</summary>
    /// <param name="options">Valid.</param>
    /// <param name="family">The model, untrained.</param>
    /// <param name="adapter">Taken off the model meanwhile.</param>
    /// <param name="events">Hears of every picture.</param>
    /// <param name="cancellation">Stops between calls of the denoiser; finished pictures stay.</param>
    /// <exception cref="DatasetException">The folder holds other things, or pictures of other making; or the pictures to learn cannot be used.</exception>
    public static void Draw(IRunOptions options, IDiffusionFamily family, AdapterSet? adapter, IProgress<TrainingEvent> events, CancellationToken cancellation)
    {
        if (options.Prior is not { } prior) return;
        var note = NoteOf(options, prior, family);
        var claimed = DrawnFolder.IsClaimed(prior.Folder, note, "prior.folder", "another prior.folder", ("pictures of your own go into a [[data]] table with prior = true", "as they are, they can go into a [[data]] table with prior = true"));
        if (Missing(prior) is not { Count: > 0 } missing) return;
        TrainingData.Read(options.Data, family.DefaultSize, options.Validation.Share, cancellation);   // what is wrong with them shows before an hour of drawing
        if (!claimed) DrawnFolder.Claim(prior.Folder, note);
        var attached = adapter?.Attached == true;
        adapter?.Detach();
        try
        {
            var done = prior.Count - missing.Count;
            foreach (var picture in missing)
            {
                cancellation.ThrowIfCancellationRequested();
                WholeFile.Write(PathOf(prior, picture), ImageFile.EncodePng(DrawOne(family, note, prior.Seed + picture, cancellation)));
                events.Report(new PriorDrawn(++done, prior.Count, prior.Folder));
            }
        }
        finally
        {
            if (attached) adapter!.Attach();
        }
    }

    /// <summary>The drawn pictures as a data set; null without <c>[prior]</c>, or while there is none.</summary>
    public static DataSetOptions? SetOf(IRunOptions options, IDiffusionFamily family)
    {
        if (options.Prior is not { } prior) return null;
        var there = Enumerable.Range(0, prior.Count).Where(picture => File.Exists(PathOf(prior, picture))).Select(picture => NameOf(prior, picture)).ToList();
        return there.Count == 0 ? null : new DataSetOptions { Folder = prior.Folder, Caption = prior.Prompt, Prior = true, Resolution = SideOf(options, family), Buckets = false, Drawn = there };
    }

    /// <summary>How many are still to be drawn.</summary>
    public static int ToDraw(IRunOptions options) => options.Prior is { } prior ? Missing(prior).Count : 0;

    private static List<int> Missing(PriorOptions prior) => [.. Enumerable.Range(0, prior.Count).Where(picture => !File.Exists(PathOf(prior, picture)))];

    /// <summary>Named by their seed, as <c>lora generate</c> does.</summary>
    private static string NameOf(PriorOptions prior, int picture) => (prior.Seed + picture).ToString("D5", CultureInfo.InvariantCulture) + ".png";

    private static string PathOf(PriorOptions prior, int picture) => Path.Combine(prior.Folder, NameOf(prior, picture));

    /// <summary>As large as the pictures to learn.</summary>
    private static int SideOf(IRunOptions options, IDiffusionFamily family) => options.Data.Max(set => set.Resolution) ?? family.DefaultSize;

    /// <summary>An inpainting model is given a picture that is all hole.</summary>
    private static RgbImage DrawOne(IDiffusionFamily family, PriorNote note, long seed, CancellationToken cancellation)
    {
        using var scope = NewDisposeScope();
        using var streams = new RandomStreams(seed);
        var generator = new ImageGenerator(family, SamplerCatalog.Create(note.Sampler, family.Schedule));
        var inpaints = family.Inpaints;
        var latents = generator.Latents(new GenerationRequest
        {
            Prompts = [note.Prompt],
            NegativePrompts = note.NegativePrompt is { } negative ? [negative] : null,
            Height = note.Side,
            Width = note.Side,
            Steps = note.Steps,
            Guidance = new Guidance(note.Guidance),
            Image = inpaints ? zeros(1, 3, note.Side, note.Side) : null,
            Mask = inpaints ? ones(1, 1, note.Side, note.Side) : null,
            SkippedLayers = note.ClipSkip - 1,
            NegativeSkippedLayers = note.ClipSkip - 1,
        }, streams["preview"], cancellation);
        return Generate.ToImage(generator.Decode(latents));
    }

    private static PriorNote NoteOf(IRunOptions options, PriorOptions prior, IDiffusionFamily family) => new()
    {
        Model = Path.GetFileName(Path.TrimEndingDirectorySeparator(options.Model)),
        Weights = ModelIdentity.HashOf(options.Model, options.ModelFile, ["scheduler", "tokenizer", "tokenizer_2", "vae", .. family.ComponentNames]),
        Prompt = prior.Prompt,
        NegativePrompt = prior.NegativePrompt,
        Sampler = prior.Sampler,
        Steps = prior.Steps,
        Guidance = prior.Guidance,
        Side = SideOf(options, family),
        ClipSkip = options.Training.ClipSkip,
        Precision = options.Training.Precision,
    };
}

/// <summary>What drew the pictures of a folder. How many there are and their seeds is not in it: more may be drawn, and names say the seed.</summary>
internal sealed record PriorNote
{
    /// <summary>Its name, for people.</summary>
    public string Model { get; init; } = "";

    /// <summary>Hash of its files.</summary>
    public string Weights { get; init; } = "";

    public string Prompt { get; init; } = "";
    public string? NegativePrompt { get; init; }
    public string Sampler { get; init; } = "";
    public int Steps { get; init; }
    public double Guidance { get; init; }

    /// <summary>In pixels.</summary>
    public int Side { get; init; }

    public int ClipSkip { get; init; }
    public Precision Precision { get; init; }
}
