using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>
/// What the families with a UNet share: everything but how prompts become conditioning.
/// Configurations are read at once, weights at first use. One thread at a time.
/// </summary>
internal abstract class UnetFamily : IDiffusionFamily
{
    private readonly ModelFiles folder;

    /// <param name="folder">The model.</param>
    /// <param name="placement">Device and base dtype of denoiser and text encoders.</param>
    /// <exception cref="CheckpointException">A part is missing, or asks for what is not supported.</exception>
    private protected UnetFamily(ModelFiles folder, LayerFactory placement)
    {
        this.folder = folder;
        Placement = placement;
        Schedule = folder.ReadSchedule();
        Denoiser = new Denoiser(folder, placement);
        Pictures = new PictureCodec(folder, placement.Device);
    }

    public abstract string Name { get; }
    public abstract string BaseVersion { get; }
    public NoiseSchedule Schedule { get; }
    public PredictionType PredictionType => Schedule.PredictionType;
    public int LatentFactor => Pictures.Config.LatentFactor;
    public int LatentChannels => Pictures.Config.LatentChannels;
    public int DenoiserChannels => Denoiser.Config.InChannels;
    public int DefaultSize => Denoiser.SampleSize * LatentFactor;
    public int PromptLength => Encoders.Min(encoder => encoder.PromptLength);

    public string Description
    {
        get
        {
            var parameters = ParameterCount / 1e6;
            return Invariant($"{Name} layout, {DefaultSize} px, {(parameters < 100 ? $"{parameters:0.0}" : $"{parameters:0}")} M parameters, ") + Schedule.Options.PredictionType;
        }
    }

    public IReadOnlyList<string> Warnings => folder.Warnings;

    /// <remarks>From the files' headers, and what was added to the denoiser's first layer; of parts without a file from their shapes.</remarks>
    public long ParameterCount => ((IEnumerable<string>)["vae", .. ComponentNames]).Sum(ParametersOf);

    public IReadOnlyList<string> ComponentNames => ["unet", .. Encoders.Select(encoder => encoder.Part)];

    /// <summary>The published pipeline class of inpainting models of this family.</summary>
    private protected abstract string InpaintPipeline { get; }

    /// <summary>The denoiser.</summary>
    internal Denoiser Denoiser { get; }

    /// <summary>The autoencoder.</summary>
    internal PictureCodec Pictures { get; }

    /// <summary>Device and base dtype.</summary>
    internal LayerFactory Placement { get; }

    /// <summary>The text encoders, the first first.</summary>
    internal abstract IReadOnlyList<PromptEncoder> Encoders { get; }

    public nn.Module Component(string name) => name switch
    {
        "unet" => Denoiser.Model,
        "vae" => Pictures.Model,
        _ => Encoder(name, ["vae", .. ComponentNames]).Model,
    };

    public void DrawWeights(string component, Generator generator)
    {
        if (component == "unet") Denoiser.Draw(generator);
        else if (component == "vae") Pictures.Draw(generator);
        else Encoder(component, ["vae", .. ComponentNames]).Draw(generator);
    }

    public void Release(string component)
    {
        if (component == "unet") Denoiser.Release();
        else if (component == "vae") Pictures.Release();
        else Encoder(component, ["vae", .. ComponentNames]).Release();
    }

    public void Place(IReadOnlyList<LearnedToken> tokens)
    {
        foreach (var token in tokens)
        {
            var unknown = token.Vectors.Keys.Where(part => Encoders.All(encoder => encoder.Part != part)).ToList();
            if (unknown.Count > 0) throw new OptionsException($"the token {token.Text} has vectors for {string.Join(", ", unknown)}, which {Name} does not have: they were learned on another base model");
        }
        foreach (var encoder in Encoders) encoder.Place(tokens);
    }

    public Tensor TokenVectors(string component, string text) => Encoder(component, ComponentNames).VectorsOf(text);

    public double MeanTokenNorm(string component) => Encoder(component, ComponentNames).MeanVectorNorm();

    public Tensor EncodeImages(Tensor pixels, Generator? posterior) => Pictures.Encode(pixels, posterior);

    public Tensor DecodeLatents(Tensor latents) => Pictures.Decode(latents);

    public Reconstruction Reconstruct(Tensor pixels, Generator posterior) => Pictures.Reconstruct(pixels, posterior);

    public void Write(string target, ScalarType type, IReadOnlyDictionary<string, string> facts, LatentStatistics? latents = null) => ModelWriter.Write(folder,
    [
        new("unet", WeighedPart.DiffusersFile, () => Denoiser.Model, () => Denoiser.IsLoaded, Denoiser.Release) { Configure = folder.Widen ? path => ModelFiles.SetKey(path, "in_channels", DenoiserChannels) : null },
        new("vae", WeighedPart.DiffusersFile, () => Pictures.Model, () => Pictures.IsLoaded, Pictures.Release)
        {
            Change = latents is null ? null : weights => StandardLatents.Fold(weights, Pictures.Config, latents),
            Configure = latents is null ? null : path => StandardLatents.Configure(path, Pictures.Config, latents),
        },
        .. Encoders.Select(encoder => new WeighedPart(encoder.Part, WeighedPart.TransformersFile, () => encoder.Model, () => encoder.IsLoaded, encoder.Release)),
    ], target, type, facts, Encoders.Where(encoder => encoder.Built is not null).ToDictionary(encoder => encoder.TokenizerName, encoder => encoder.Built!), folder.Widen ? InpaintPipeline : null);

    public abstract Conditioning EncodePrompts(IReadOnlyList<string> prompts, PromptOptions? options = null);

    public abstract Conditioning EncodeNoPrompt(PromptOptions? options = null);

    public abstract Conditioning WithSizes(Conditioning conditioning, IReadOnlyList<SizeCondition> sizes);

    public string? CutText(string prompt)
    {
        var longest = Encoders.Select(encoder => encoder.Cut(prompt)).MaxBy(cut => cut?.Tokens ?? 0);
        return longest is null ? null : Invariant($"{longest.Tokens} {(longest.Tokens == 1 ? "token" : "tokens")}: \"{longest.Text}\"");
    }

    public Tensor Predict(Tensor latents, Tensor timesteps, Conditioning conditioning) => Denoiser.Predict(latents, timesteps, conditioning);

    public void Dispose()
    {
        Denoiser.Dispose();
        Pictures.Dispose();
        foreach (var encoder in Encoders) encoder.Dispose();
    }

    /// <summary>Refuses to skip more layers than there are.</summary>
    private protected static int SkippedLayers(PromptOptions? options, PromptEncoder encoder, int most)
    {
        var skipped = options?.SkippedLayers ?? 0;
        return skipped >= 0 && skipped <= most ? skipped
            : throw new OptionsException(Invariant($"skipped layers: {skipped} (clip skip {skipped + 1}); {encoder.Part} of this model can leave out 0 to {most}"));
    }

    private PromptEncoder Encoder(string name, IReadOnlyList<string> known) => Encoders.FirstOrDefault(encoder => encoder.Part == name)
        ?? throw new ArgumentException($"no component is named \"{name}\"{NearestName.Hint(name, known)}; {Name} has {string.Join(", ", known)}", nameof(name));

    private long ParametersOf(string part)
    {
        if (!folder.HasWeights(part))
        {
            using nn.Module shapes = part == "unet" ? new UNet2DConditionModel(Denoiser.Config, LayerFactory.Meta) : part == "vae" ? new AutoencoderKL(Pictures.Config, LayerFactory.Meta) : Encoder(part, ComponentNames).WithoutWeights();
            return shapes.parameters().Sum(parameter => parameter.numel());
        }
        using var weights = folder.OpenWeights(part);
        return (part == "unet" ? Denoiser.AddedParameters : 0) + weights.Names.Where(name => !name.EndsWith("position_ids", StringComparison.Ordinal)).Sum(name => weights.Info(name).Shape.Aggregate(1L, (product, size) => product * size));
    }
}
