using System.Globalization;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Text;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>How far a generation is.</summary>
public sealed class GenerateProgress
{
    internal GenerateProgress(int picture, int pictures, int step, int steps, string? warning = null) => (Picture, Pictures, Step, Steps, Warning) = (picture, pictures, step, steps, warning);

    /// <summary>From 1.</summary>
    public int Picture { get; }

    /// <summary>How many are asked for.</summary>
    public int Pictures { get; }

    /// <summary>Call of the denoiser, from 1.</summary>
    public int Step { get; }

    /// <summary>Calls in a picture.</summary>
    public int Steps { get; }

    /// <summary>Something its user should know; null otherwise.</summary>
    public string? Warning { get; }
}

/// <summary>What was made.</summary>
public sealed class GenerateResult
{
    internal GenerateResult(IReadOnlyList<string> pictures, string? grid) => (Pictures, Grid) = (pictures, grid);

    /// <summary>The PNG files.</summary>
    public IReadOnlyList<string> Pictures { get; }

    /// <summary>All of them on one sheet; null for a single one.</summary>
    public string? Grid { get; }
}

/// <summary>Prompts to pictures: open the model, attach adapters, encode, draw, write.</summary>
public static class Generate
{
    /// <summary>Names of the samplers.</summary>
    public static IReadOnlyList<string> SamplerNames => SamplerCatalog.Names;

    /// <summary>Makes the pictures, one after the other: each depends on its seed alone.</summary>
    /// <exception cref="LowRankException">Options, model, adapter or pictures that cannot be used.</exception>
    public static GenerateResult Run(GenerateOptions options, IProgress<GenerateProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var named = NamedInPrompts.Of(options);
        OutputFolder.RequireWritable(options.Output);
        using var quiet = no_grad();
        using var studio = Studio.Open(options.Model, options.Precision, options.ModelFile);
        foreach (var warning in studio.Family.Warnings) Warn(warning);
        using var start = StartPicture.Of(options, studio.Family);
        studio.LoadAll(named, options.AllowUnmatched, Warn);
        var drawing = options with { Prompt = named.Prompt, NegativePrompt = named.NegativePrompt };
        foreach (var warning in PromptWarnings(drawing, studio)) Warn(warning);
        var (swept, strengths) = Sweep(options, studio);
        var folder = Path.GetFullPath(options.Output);
        var (paths, pictures) = (new List<string>(), new List<RgbImage>());
        foreach (var (seed, strength) in Enumerable.Range(0, options.Count).SelectMany(i => strengths.Select(strength => (options.Seed + i, strength))))
        {
            if (swept is not null) swept.Strength = strength!.Value;
            var number = paths.Count + 1;
            pictures.Add(studio.Picture(drawing with { Seed = seed }, start, step => progress?.Report(new(number, options.Count * strengths.Count, step.Call, step.Calls)), cancellation));
            paths.Add(FreePath(folder, seed, strength is null ? "" : string.Create(CultureInfo.InvariantCulture, $"-strength-{strength}")));
            WholeFile.Write(paths[^1], studio.Png(pictures[^1], options with { Seed = seed }, start.Size));
        }
        return new GenerateResult(paths, WriteSheet(options, paths, pictures));

        void Warn(string text) => progress?.Report(new(0, options.Count, 0, 0, text));
    }

    /// <summary>(1, 3, H, W) about [-1, 1] to 8 bits; halves go to even.</summary>
    internal static RgbImage ToImage(Tensor pixels)
    {
        using var scope = NewDisposeScope();
        return PixelTensor.ToImage(pixels[0].contiguous().data<float>().ToArray(), new PixelSize((int)pixels.shape[3], (int)pixels.shape[2]));
    }

    private static IEnumerable<string> PromptWarnings(GenerateOptions options, Studio studio)
    {
        foreach (var prompt in new[] { options.Prompt, options.NegativePrompt }.OfType<string>())
        {
            if (options.PromptWeights == PromptWeights.None && studio.Family.CutText(prompt) is { } cut) yield return $"the prompt is longer than the model's {studio.Family.PromptLength} tokens; cut away: {cut}";
            if (options.PromptWeights == PromptWeights.A1111 && WeightedPrompt.HasBreakInBrackets(prompt)) yield return "BREAK inside brackets is read as a word, as web UIs do; write it outside to begin another chunk";
        }
    }

    /// <summary>Whose strength is swept, and the strengths to draw each seed at; a single null for those that the adapters have.</summary>
    private static (StudioAdapter? Adapter, IReadOnlyList<double?> Strengths) Sweep(GenerateOptions options, Studio studio)
    {
        if (options.Sweep.Count == 0) return (null, [null]);
        if (studio.Adapters.Count == 0) throw new OptionsException("sweep: there is no adapter to sweep; name one with --adapter, or in the prompt");
        return (options.SweepAdapter is { } name ? studio[name] : studio.Adapters[0], [.. options.Sweep.Select(strength => (double?)strength)]);
    }

    /// <summary>All pictures on one sheet, of a sweep seeds down and strengths across; null for a single picture.</summary>
    private static string? WriteSheet(GenerateOptions options, List<string> paths, List<RgbImage> pictures)
    {
        if (pictures.Count == 1) return null;
        var folder = Path.GetFullPath(options.Output);
        string Label(double strength) => string.Create(CultureInfo.InvariantCulture, $"strength {strength}");
        if (options.Sweep.Count > 0)
        {
            var sheet = FreePath(folder, options.Seed, "-sweep");
            var seeds = options.Count == 1 ? [] : Enumerable.Range(0, options.Count).Select(i => string.Create(CultureInfo.InvariantCulture, $"seed {options.Seed + i}")).ToArray();
            ImageFile.WritePng(sheet, ImageGrid.Sheet([.. pictures.Chunk(options.Sweep.Count)], [.. options.Sweep.Select(Label)], seeds));
            return sheet;
        }
        var grid = Path.Combine(folder, Path.GetFileNameWithoutExtension(paths[0]) + "-grid.png");
        ImageFile.WritePng(grid, ImageGrid.Sheet([.. pictures.Chunk((int)Math.Ceiling(Math.Sqrt(pictures.Count)))], [], []));
        return grid;
    }

    /// <summary>00007.png, or the next free 00007-2.png: nothing is overwritten.</summary>
    private static string FreePath(string folder, long seed, string what)
    {
        var name = seed.ToString("D5", CultureInfo.InvariantCulture) + what;
        var path = Path.Combine(folder, name + ".png");
        for (var i = 2; File.Exists(path); i++) path = Path.Combine(folder, $"{name}-{i}.png");
        return path;
    }
}
