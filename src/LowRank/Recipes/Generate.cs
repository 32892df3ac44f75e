using System.Globalization;
using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Text;
using LowRank.Training;
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
        OutputFolder.RequireWritable(options.Output);
        using var quiet = no_grad();
        using var family = FamilyDetector.Open(options.Model, options.Precision == Precision.Bf16 ? ScalarType.BFloat16 : ScalarType.Float32);
        var start = ReadStart(options, family);
        var size = SizeOf(options, family, start);
        using var adapters = new AttachedAdapters(options, family, Warn);
        foreach (var prompt in new[] { options.Prompt, options.NegativePrompt }.OfType<string>())
        {
            if (options.PromptWeights == PromptWeights.None && family.CutText(prompt) is { } cut) Warn($"the prompt is longer than the model's {family.PromptLength} tokens; cut away: {cut}");
            if (options.PromptWeights == PromptWeights.A1111 && WeightedPrompt.HasBreakInBrackets(prompt)) Warn("BREAK inside brackets is read as a word, as web UIs do; write it outside to begin another chunk");
        }
        using var scope = NewDisposeScope();
        (Tensor? pixelsOfImage, Tensor? mask) = start is null ? (null, null) : start.ToTensors();
        var folder = Path.GetFullPath(options.Output);
        var (paths, pictures) = (new List<string>(), new List<RgbImage>());
        for (var i = 0; i < options.Count; i++)
        {
            var seed = options.Seed + i;
            var picture = i + 1;
            pictures.Add(Draw(family, options, seed, (size, pixelsOfImage, mask), step => progress?.Report(new(picture, options.Count, step.Call, step.Calls)), cancellation));
            paths.Add(FreePath(folder, seed));
            ImageFile.WritePng(paths[^1], pictures[^1], new Dictionary<string, string> { ["parameters"] = Settings(options, seed, size) });
        }
        if (pictures.Count == 1) return new GenerateResult(paths, null);
        var grid = Path.Combine(folder, Path.GetFileNameWithoutExtension(paths[0]) + "-grid.png");
        ImageFile.WritePng(grid, ImageGrid.Sheet([.. pictures.Chunk((int)Math.Ceiling(Math.Sqrt(pictures.Count)))], [], []));
        return new GenerateResult(paths, grid);

        void Warn(string text) => progress?.Report(new(0, options.Count, 0, 0, text));
    }

    /// <summary>One picture of a model that is open, with its adapters attached.</summary>
    /// <param name="family">The model.</param>
    /// <param name="options">Valid; model, adapters, embeddings, files and count are not looked at.</param>
    /// <param name="seed">All that differs between the pictures of one prompt.</param>
    /// <param name="start">How large; the picture to start from, (1, 3, H, W) in [-1, 1], and where it is painted anew, (1, 1, H, W) in [0, 1].</param>
    /// <param name="onStep">Hears of each call of the denoiser.</param>
    /// <param name="cancellation">Ends between calls of the denoiser.</param>
    internal static RgbImage Draw(IDiffusionFamily family, GenerateOptions options, long seed, (PixelSize Size, Tensor? Image, Tensor? Mask) start, Action<GenerationStep>? onStep, CancellationToken cancellation)
    {
        using var streams = new RandomStreams(seed);
        var generator = new ImageGenerator(family, SamplerCatalog.Create(options.Sampler, family.Schedule)) { OnStep = onStep };
        using var latents = generator.Latents(new GenerationRequest
        {
            Prompts = [options.Prompt],
            Weighted = options.PromptWeights == PromptWeights.A1111,
            NegativePrompts = options.NegativePrompt is { } negative ? [negative] : null,
            Height = start.Size.Height,
            Width = start.Size.Width,
            Steps = options.Steps,
            Guidance = new Guidance(options.Guidance, options.GuidanceRescale),
            Strength = options.NoiseStrength,
            Image = start.Image,
            Mask = start.Mask,
            SkippedLayers = options.ClipSkip - 1,
            NegativeSkippedLayers = options.ClipSkip - 1,
        }, streams["preview"], cancellation);
        using var pixels = generator.Decode(latents);
        return ToImage(pixels);
    }

    /// <summary>(1, 3, H, W) about [-1, 1] to 8 bits; halves go to even.</summary>
    internal static RgbImage ToImage(Tensor pixels)
    {
        using var scope = NewDisposeScope();
        return PixelTensor.ToImage(pixels[0].contiguous().data<float>().ToArray(), new PixelSize((int)pixels.shape[3], (int)pixels.shape[2]));
    }

    private static PixelSize SizeOf(GenerateOptions options, IDiffusionFamily family, StartFiles? start)
    {
        var (height, width) = (options.Height ?? start?.Picture.Size.Height ?? family.DefaultSize, options.Width ?? start?.Picture.Size.Width ?? family.DefaultSize);
        var step = family.LatentFactor;
        if (height % step != 0 || width % step != 0) throw new OptionsException($"size: {width}×{height}; both sides must be multiples of {step}, since a latent of this model is {step} pixels: try {width / step * step}×{height / step * step}");
        start?.Require(new PixelSize(width, height));
        return new PixelSize(width, height);
    }

    private static StartFiles? ReadStart(GenerateOptions options, IDiffusionFamily family)
    {
        if (options.Image is null) return null;
        var picture = Read(options.Image);
        return new StartFiles(picture, options.Mask is null ? null : Read(options.Mask), options.Width is { } width && options.Height is { } height ? new PixelSize(width, height) : null);

        static RgbImage Read(string path)
        {
            try
            {
                return ImageFile.Read(path);
            }
            catch (Exception problem) when (problem is ImageDefectException or IOException or UnauthorizedAccessException)
            {
                throw new DatasetException($"picture cannot be read: {path}\n  {problem.Message}", problem);
            }
        }
    }

    /// <summary>00007.png, or the next free 00007-2.png: nothing is overwritten.</summary>
    private static string FreePath(string folder, long seed)
    {
        var name = seed.ToString("D5", CultureInfo.InvariantCulture);
        var path = Path.Combine(folder, name + ".png");
        for (var i = 2; File.Exists(path); i++) path = Path.Combine(folder, $"{name}-{i}.png");
        return path;
    }

    /// <summary>What web UIs call a sampler.</summary>
    private static string Title(string sampler) => sampler switch
    {
        "ddim" => "DDIM",
        "euler" => "Euler",
        "euler-a" => "Euler a",
        "heun" => "Heun",
        "dpmpp-2m" => "DPM++ 2M",
        "dpmpp-2m-karras" => "DPM++ 2M Karras",
        "unipc" => "UniPC",
        "lcm" => "LCM",
        "pndm" => "PLMS",
        "dpm2" => "DPM2",
        "dpm2-a" => "DPM2 a",
        "dpmpp-sde" => "DPM++ SDE",
        "lms" => "LMS",
        _ => sampler.ToUpperInvariant(),
    };

    /// <summary>The "parameters" text that web UIs read from pictures, which they keep under that key.</summary>
    internal static string Settings(GenerateOptions options, long seed, PixelSize size)
    {
        var lines = new List<string> { options.Prompt };
        if (options.NegativePrompt is { } negative) lines.Add("Negative prompt: " + negative);
        var settings = string.Create(CultureInfo.InvariantCulture,
            $"Steps: {options.Steps}, Sampler: {Title(options.Sampler)}, CFG scale: {options.Guidance}, Seed: {seed}, Size: {size.Width}x{size.Height}, Model: {Path.GetFileName(options.Model.TrimEnd('/', '\\'))}");
        if (options.ClipSkip > 1) settings += string.Create(CultureInfo.InvariantCulture, $", Clip skip: {options.ClipSkip}");
        if (options.Image is not null) settings += string.Create(CultureInfo.InvariantCulture, $", Denoising strength: {options.NoiseStrength}");
        if (options.Embeddings.Count > 0) settings += ", Embeddings: \"" + string.Join(", ", options.Embeddings.Select(use => Path.GetFileName(use.File) + (use.Token is null ? "" : $": {use.Token}"))) + "\"";
        if (options.Adapters.Count > 0) settings += ", Adapters: \"" + string.Join(", ", options.Adapters.Select(use => string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(use.File)}: {use.Strength}"))) + "\"";
        lines.Add(settings + ", Version: LowRank");
        return string.Join('\n', lines);
    }

    /// <summary>The adapters and learned tokens of a generation, on their model until disposed.</summary>
    internal sealed class AttachedAdapters : IDisposable
    {
        private readonly List<AdapterSet> sets = [];
        private readonly List<Embedding> embeddings = [];
        private readonly IDiffusionFamily family;

        public AttachedAdapters(GenerateOptions options, IDiffusionFamily family, Action<string> warn)
        {
            this.family = family;
            foreach (var use in options.Embeddings) embeddings.AddRange(Embedding.Read(use.File, use.Token));
            var components = options.Adapters.Count == 0 ? [] : family.ComponentNames.ToDictionary(name => name, family.Component);
            foreach (var use in options.Adapters)
            {
                using var file = AdapterFile.Open(use.File);
                var set = AdapterSet.Load(components, file, new AdapterLoadOptions
                {
                    Strength = use.Strength,
                    AllowUnmatched = options.AllowUnmatched,
                    Model = $"{options.Model} ({family.Name})",
                    BaseVersion = family.BaseVersion,
                    EmbeddingsAreUsed = true,
                });
                sets.Add(set);
                foreach (var warning in set.Warnings) warn($"{use.File}: {warning}");
                AddNew(Embedding.Read(file), use.File);
            }
            family.Place([.. embeddings.Select(item => new LearnedToken(item.Token, item.Vectors))]);

            // two adapters may have been trained with the same word; the word can only mean one of them
            void AddNew(IReadOnlyList<Embedding> found, string path)
            {
                foreach (var embedding in found)
                {
                    if (embeddings.TrueForAll(item => item.Token != embedding.Token))
                    {
                        embeddings.Add(embedding);
                        continue;
                    }
                    embedding.Dispose();
                    warn($"{path}: its token {embedding.Token} is not used, since another file has one of that name; to use both, give it another name: --embedding {path}=NAME");
                }
            }
        }

        public void Dispose()
        {
            family.Place([]);
            foreach (var embedding in embeddings) embedding.Dispose();
            foreach (var set in Enumerable.Reverse(sets)) set.Dispose();
        }
    }

    /// <summary>Start picture and mask as read, brought to one size.</summary>
    private sealed class StartFiles(RgbImage picture, RgbImage? mask, PixelSize? wanted)
    {
        public RgbImage Picture { get; } = wanted is { } size && size != picture.Size ? ResizeCrop.Resize(picture, size) : picture;

        public void Require(PixelSize size)
        {
            if (Picture.Size != size) throw new OptionsException($"size: {size} for a picture of {Picture.Size}; give both --width and --height to resize it, or neither");
        }

        /// <summary>(1, 3, H, W) in [-1, 1], and (1, 1, H, W) in [0, 1].</summary>
        public (Tensor Pixels, Tensor? Mask) ToTensors()
        {
            var size = Picture.Size;
            var pixels = tensor(PixelTensor.ToPlanes(Picture), [1, 3, size.Height, size.Width]);
            if (mask is null) return (pixels, null);
            var three = tensor(PixelTensor.ToPlanes(mask.Size == size ? mask : ResizeCrop.Resize(mask, size)), [1, 3, size.Height, size.Width]);
            return (pixels, three.mean([1], keepdim: true).Times(0.5f).Plus(0.5f));
        }
    }
}
