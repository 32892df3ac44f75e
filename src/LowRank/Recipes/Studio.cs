using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// A model that stays open, and adapters that come, go and change their strength between pictures without anything being read again:
/// <c>Load</c> reads one, <see cref="StudioAdapter.Strength"/> changes it, <see cref="Switch"/> puts it in the place of the others, <see cref="Draw"/> draws.
/// One thread at a time. Owns the model and the adapters.
/// </summary>
public sealed class Studio : IDisposable
{
    private readonly IDiffusionFamily family;
    private readonly bool owned;
    private readonly string model;
    private readonly List<StudioAdapter> adapters = [];
    private readonly List<(Embedding Token, StudioAdapter? Of)> tokens = [];
    private readonly List<NamedHash> embeddings = [];
    private ModuleNames? names;

    private Studio(IDiffusionFamily family, string model, bool owned) => (this.family, this.model, this.owned) = (family, model, owned);

    /// <summary>What is on or off, in the order in which it was loaded.</summary>
    public IReadOnlyList<StudioAdapter> Adapters => adapters;

    /// <summary>The adapter of a name.</summary>
    /// <exception cref="OptionsException">None is called so.</exception>
    public StudioAdapter this[string name] => adapters.Find(adapter => adapter.Name == name)
        ?? throw new OptionsException($"no adapter is named {name}{NearestName.Hint(name, adapters.Select(adapter => adapter.Name))}; there are {(adapters.Count == 0 ? "none" : string.Join(", ", adapters.Select(adapter => adapter.Name)))}");

    /// <summary>The blocks that <see cref="StudioAdapter.Blocks"/> has factors for, in its order; loads the model.</summary>
    public IReadOnlyList<string> BlockNames => Names.Blocks.Names;

    /// <summary>The model.</summary>
    internal IDiffusionFamily Family => family;

    private ModuleNames Names => names ??= new ModuleNames(family.ComponentNames.ToDictionary(name => name, family.Component));

    /// <summary>Opens a model: its configurations. Weights are read when they are first needed, and stay.</summary>
    /// <param name="model">As <see cref="GenerateOptions.Model"/>.</param>
    /// <param name="precision">Arithmetic of the model.</param>
    /// <param name="files">How the model's files are read; null: as usual.</param>
    /// <exception cref="LowRankException">It cannot be used.</exception>
    public static Studio Open(string model, Precision precision = Precision.Fp32, ModelFileOptions? files = null) =>
        new(FamilyDetector.Open(model, precision == Precision.Bf16 ? ScalarType.BFloat16 : ScalarType.Float32, files: files), model, owned: true);

    /// <summary>Over a model that stays the caller's.</summary>
    internal static Studio Over(IDiffusionFamily family, string model) => new(family, model, owned: false);

    /// <summary>Reads an adapter and puts it on the model, at strength 1.</summary>
    /// <param name="file">Of any convention, or the name of one that comes with the program.</param>
    /// <param name="name">What to call it; null for its file name without ending.</param>
    /// <param name="allowUnmatched">Take what fits of a file whose other keys find no module, instead of refusing it.</param>
    /// <exception cref="LowRankException">The file cannot be used with this model, or the name is taken.</exception>
    public StudioAdapter Load(string file, string? name = null, bool allowUnmatched = false)
    {
        name ??= Path.GetFileNameWithoutExtension(file);
        if (adapters.Exists(adapter => adapter.Name == name)) throw new OptionsException($"an adapter is named {name} already; give this one another name: {file}");
        using var opened = AdapterFile.Open(file);
        var set = AdapterSet.Load(Names, opened, new AdapterLoadOptions
        {
            AllowUnmatched = allowUnmatched,
            Model = $"{model} ({family.Name})",
            BaseVersion = family.BaseVersion,
            EmbeddingsAreUsed = true,
        });
        try
        {
            var loaded = new StudioAdapter(name, file, FileHash.OfAdapter(opened), set);
            AddTokens(Embedding.Read(opened), loaded);
            adapters.Add(loaded);
            return loaded;
        }
        catch
        {
            set.Dispose();
            throw;
        }
    }

    /// <summary>Takes an adapter off and out of memory.</summary>
    /// <exception cref="OptionsException">None is called so.</exception>
    public void Unload(string name)
    {
        var adapter = this[name];
        adapters.Remove(adapter);
        family.Place([]);
        foreach (var (token, _) in tokens.Where(item => item.Of == adapter)) token.Dispose();
        tokens.RemoveAll(item => item.Of == adapter);
        adapter.Unload();
    }

    /// <summary>Puts these adapters on the model and takes all others off; none gives the model itself. All stay in memory.</summary>
    /// <exception cref="OptionsException">None is called so; nothing is changed then.</exception>
    public void Switch(params IReadOnlyList<string> on)
    {
        var chosen = on.Select(name => this[name]).ToHashSet();
        foreach (var adapter in adapters) adapter.IsOn = chosen.Contains(adapter);
    }

    /// <summary>Reads a learned token (textual inversion) that prompts may name from now on.</summary>
    /// <param name="file">In any form.</param>
    /// <param name="token">What to call it; null for the name that the file gives.</param>
    /// <exception cref="LowRankException">The file holds no embedding, or one that this model cannot take; nothing is changed then.</exception>
    public void LoadEmbedding(string file, string? token = null) => LoadEmbedding(NamedEmbedding.Of(new EmbeddingUse(file, token)));

    internal void LoadEmbedding(NamedEmbedding use)
    {
        AddTokens(Embedding.Read(use.Use.File, use.Use.Token), of: null);
        embeddings.Add(new(use.Name, FileHash.Of(use.Use.File), use.Shown));
    }

    /// <summary>Loads all that a generation uses, and places its words.</summary>
    internal void LoadAll(NamedInPrompts named, bool allowUnmatched, Action<string> warn)
    {
        foreach (var embedding in named.Embeddings) LoadEmbedding(embedding);
        foreach (var (name, use) in named.Adapters)
        {
            var free = name;
            for (var i = 2; adapters.Exists(adapter => adapter.Name == free); i++) free = FormattableString.Invariant($"{name}-{i}");
            var adapter = Load(use.File, free, allowUnmatched);
            (adapter.Strength, adapter.Factors) = (use.Strength, use.PartStrengths);
            foreach (var warning in adapter.Warnings) warn($"{use.File}: {warning}");
        }
        foreach (var warning in PlaceTokens()) warn(warning);
    }

    /// <summary>Draws a picture with the adapters that are on.</summary>
    /// <param name="options">What to draw.</param>
    /// <param name="progress">Hears of every call of the denoiser.</param>
    /// <param name="cancellation">Ends between them.</param>
    /// <returns>A PNG file with the settings in its text, which web UIs read.</returns>
    /// <exception cref="LowRankException">Options that cannot be honoured.</exception>
    public byte[] Draw(PictureOptions options, IProgress<GenerateProgress>? progress = null, CancellationToken cancellation = default)
    {
        var problems = options.Validate().ToList();
        if (Text.PromptTags.IsIn(options.Prompt)) problems.Add("prompt: it names an adapter; load it into the studio instead");
        RunOptions.ThrowIfAny(problems, "the options");
        using var quiet = no_grad();
        using var start = StartPicture.Of(options, family);
        PlaceTokens();
        return Png(Picture(options, start, step => progress?.Report(new(1, 1, step.Call, step.Calls)), cancellation), options, start.Size);
    }

    /// <summary>The same after everything is checked and read.</summary>
    internal RgbImage Picture(PictureOptions options, StartPicture start, Action<GenerationStep>? onStep, CancellationToken cancellation)
    {
        using var streams = new RandomStreams(options.Seed);
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
        return Generate.ToImage(pixels);
    }

    /// <summary>A picture with its settings; <paramref name="options"/> as its user wrote them.</summary>
    internal byte[] Png(RgbImage picture, PictureOptions options, PixelSize size) =>
        PngText.Insert(ImageFile.EncodePng(picture), new Dictionary<string, string> { ["parameters"] = PictureSettings.Of(options, size, model, [.. adapters.Where(adapter => adapter.IsOn)], embeddings) });

    /// <summary>Puts the words of embeddings, and of the adapters that are on, into prompts.</summary>
    /// <returns>What was left out: two adapters may have been trained with the same word, which can only mean one of them.</returns>
    internal IReadOnlyList<string> PlaceTokens()
    {
        var (placed, warnings) = (new List<Embedding>(), new List<string>());
        foreach (var (token, of) in tokens.Where(item => item.Of is null || item.Of.IsOn))
        {
            if (placed.TrueForAll(item => item.Token != token.Token)) placed.Add(token);
            else warnings.Add($"{of?.File}: its token {token.Token} is not used, since another file has one of that name; to use both, give it another name: --embedding {of?.File}=NAME");
        }
        family.Place([.. placed.Select(item => new LearnedToken(item.Token, item.Vectors))]);
        return warnings;
    }

    /// <summary>Takes them, unless the model refuses them.</summary>
    private void AddTokens(IReadOnlyList<Embedding> found, StudioAdapter? of)
    {
        var before = tokens.Count;
        tokens.AddRange(found.Select(token => (token, of)));
        try
        {
            PlaceTokens();
        }
        catch
        {
            tokens.RemoveRange(before, found.Count);
            PlaceTokens();
            foreach (var token in found) token.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        family.Place([]);
        foreach (var (token, _) in tokens) token.Dispose();
        foreach (var adapter in Enumerable.Reverse(adapters)) adapter.Unload();
        if (owned) family.Dispose();
    }
}
