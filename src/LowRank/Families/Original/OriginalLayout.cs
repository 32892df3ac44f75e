using LowRank.Foundation;

namespace LowRank.Families.Original;

/// <summary>Which text encoders a checkpoint of the original layout holds, and where: what tells its families apart.</summary>
internal sealed class OriginalLayout
{
    /// <summary>What the denoiser's tensors begin with.</summary>
    public const string UnetPrefix = "model.diffusion_model.";

    /// <summary>What the autoencoder's tensors begin with.</summary>
    public const string VaePrefix = "first_stage_model.";

    /// <summary>What the averaged weights begin with, whose names have no dots.</summary>
    public const string AveragesPrefix = "model_ema.";

    /// <summary>Stable Diffusion 1: one CLIP encoder.</summary>
    public static OriginalLayout First { get; } = new("Stable Diffusion 1", [new("text_encoder", "cond_stage_model.transformer.", IsOpenClip: false)]);

    /// <summary>Stable Diffusion 2: one OpenCLIP encoder.</summary>
    public static OriginalLayout Second { get; } = new("Stable Diffusion 2", [new("text_encoder", "cond_stage_model.model.", IsOpenClip: true)]);

    /// <summary>Stable Diffusion XL: both.</summary>
    public static OriginalLayout Xl { get; } = new("Stable Diffusion XL",
    [
        new("text_encoder", "conditioner.embedders.0.transformer.", IsOpenClip: false), new("text_encoder_2", "conditioner.embedders.1.model.", IsOpenClip: true),
    ]);

    private OriginalLayout(string title, IReadOnlyList<Encoder> encoders) => (Title, Encoders) = (title, encoders);

    /// <summary>A text encoder's place.</summary>
    /// <param name="Part">Its name in the layout of diffusers.</param>
    /// <param name="Prefix">What its tensors begin with in the file.</param>
    /// <param name="IsOpenClip">Whether its layers have OpenCLIP's names.</param>
    public sealed record Encoder(string Part, string Prefix, bool IsOpenClip);

    /// <summary>The family in words.</summary>
    public string Title { get; }

    /// <summary>The first first.</summary>
    public IReadOnlyList<Encoder> Encoders { get; }

    /// <summary>Parts with weights, as the index names them.</summary>
    public IEnumerable<string> Parts => ["unet", "vae", .. Encoders.Select(encoder => encoder.Part)];

    /// <summary>The layout that a model of the layout of diffusers is written in.</summary>
    /// <param name="parts">Parts that it has.</param>
    /// <param name="hasLinearProjections">Of the denoiser's transformers, as Stable Diffusion 2 has them and 1 has not.</param>
    public static OriginalLayout For(IEnumerable<string> parts, bool hasLinearProjections) => parts.Contains("text_encoder_2") ? Xl : hasLinearProjections ? Second : First;

    /// <summary>The layout of a file.</summary>
    /// <exception cref="CheckpointException">It is no whole model of a family that is known; the message says what it is, as far as its names tell.</exception>
    public static OriginalLayout Of(ITensorFile file)
    {
        if (OtherFiles.Problem(file) is { } problem) throw problem;
        if (Has(Xl.Encoders[1].Prefix)) return Xl;
        return Has(Second.Encoders[0].Prefix) ? Second : First;

        bool Has(string prefix) => file.Tensors.Keys.Any(name => name.StartsWith(prefix, StringComparison.Ordinal));
    }

    /// <summary>A part's names.</summary>
    /// <param name="part">One of <see cref="Parts"/>.</param>
    /// <param name="keys">All its names in the layout of diffusers.</param>
    public OriginalPart NamesOf(string part, IReadOnlyCollection<string> keys)
    {
        if (part == "unet") return OriginalPart.Unet(keys);
        if (part == "vae") return OriginalPart.Vae(keys);
        var encoder = Encoders.First(encoder => encoder.Part == part);
        return encoder.IsOpenClip ? OriginalPart.OpenClipText(part, encoder.Prefix, keys) : OriginalPart.ClipText(part, encoder.Prefix, keys);
    }

    /// <summary>What a part's tensors begin with in the file.</summary>
    /// <param name="part">One of <see cref="Parts"/>.</param>
    public string PrefixOf(string part) => part == "unet" ? UnetPrefix : part == "vae" ? VaePrefix : Encoders.First(encoder => encoder.Part == part).Prefix;
}
