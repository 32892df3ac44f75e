using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Foundation;

namespace LowRank.Families.Original;

/// <summary>
/// A part's names in a checkpoint of the original layout (CompVis/stable-diffusion, Stability-AI/stablediffusion, Stability-AI/generative-models: the
/// <c>state_dict</c> of the whole training module), by its names in the layout of diffusers. Every tensor of the part has a place there; the other way round
/// there are tensors that no part uses (<see cref="IsSpare"/>).
/// </summary>
internal sealed partial class OriginalPart
{
    private readonly Func<string, OriginalTensor?> place;
    private readonly int layers;

    private OriginalPart(string name, string prefix, IReadOnlyCollection<string> keys, Func<string, OriginalTensor?> place)
    {
        (Name, Prefix, Keys, this.place) = (name, prefix, keys, place);
        layers = keys.Select(key => Layer().Match(key)).Where(match => match.Success).Select(match => Number(match.Groups[1]) + 1).DefaultIfEmpty().Max();
    }

    /// <summary>unet, vae, text_encoder, text_encoder_2.</summary>
    public string Name { get; }

    /// <summary>What the names of its tensors begin with in the file.</summary>
    public string Prefix { get; }

    /// <summary>Its names in the layout of diffusers.</summary>
    public IReadOnlyCollection<string> Keys { get; }

    /// <summary>The denoiser.</summary>
    /// <param name="keys">All its names in the layout of diffusers.</param>
    public static OriginalPart Unet(IReadOnlyCollection<string> keys)
    {
        var names = new OriginalUnetNames([.. keys.Select(ModuleOf)]);
        return new OriginalPart("unet", OriginalLayout.UnetPrefix, keys, key => names.Of(ModuleOf(key)) is { } module ? new OriginalTensor(module + key[ModuleOf(key).Length..]) : null);
    }

    /// <summary>The autoencoder.</summary>
    /// <param name="keys">All its names in the layout of diffusers.</param>
    public static OriginalPart Vae(IReadOnlyCollection<string> keys)
    {
        var levels = keys.Select(key => VaeLevel().Match(key)).Where(match => match.Success).Select(match => Number(match.Groups[1]) + 1).DefaultIfEmpty().Max();
        return new OriginalPart("vae", OriginalLayout.VaePrefix, keys, key => OriginalVaeNames.Of(key, levels));
    }

    /// <summary>A text encoder as transformers names its layers.</summary>
    /// <param name="name">Of the part.</param>
    /// <param name="prefix">In the file.</param>
    /// <param name="keys">All its names in the layout of diffusers.</param>
    public static OriginalPart ClipText(string name, string prefix, IReadOnlyCollection<string> keys) => new(name, prefix, keys, key => new OriginalTensor(key));

    /// <summary>A text encoder as OpenCLIP names its layers.</summary>
    /// <param name="name">Of the part.</param>
    /// <param name="prefix">In the file.</param>
    /// <param name="keys">All its names in the layout of diffusers.</param>
    public static OriginalPart OpenClipText(string name, string prefix, IReadOnlyCollection<string> keys) => new(name, prefix, keys, OpenClipNames.Of);

    /// <summary>Where a tensor lies.</summary>
    /// <param name="key">In the layout of diffusers.</param>
    /// <returns>Null for a key that the original layout has no name for.</returns>
    public OriginalTensor? Of(string key) => place(key) is { } tensor ? tensor with { Name = Prefix + tensor.Name } : null;

    /// <summary>Other names that files have for a tensor: text encoders were also written without a level, and averages without dots.</summary>
    /// <param name="tensor">As <see cref="Of"/> gave it.</param>
    /// <param name="averages">Whether the averaged weights are wanted.</param>
    public IEnumerable<OriginalTensor> Spellings(OriginalTensor tensor, bool averages)
    {
        if (averages && Name == "unet")
        {
            // ldm/modules/ema.py, LitEma: names of the wrapped module without dots
            yield return tensor with { Name = OriginalLayout.AveragesPrefix + tensor.Name["model.".Length..].Replace(".", "", StringComparison.Ordinal) };
            yield break;
        }
        yield return tensor;
        const string Level = "text_model.";
        if (tensor.Name.StartsWith(Prefix + Level, StringComparison.Ordinal)) yield return tensor with { Name = Prefix + tensor.Name[(Prefix.Length + Level.Length)..] };
    }

    /// <summary>Whether a tensor below the part's prefix is one that real files have and the part does not use.</summary>
    /// <param name="name">In the file, without the prefix.</param>
    public bool IsSpare(string name)
    {
        if (Name == "vae") return name.StartsWith("loss.", StringComparison.Ordinal) || name.StartsWith("model_ema.", StringComparison.Ordinal);
        if (Name == "unet") return false;
        if (name.EndsWith("position_ids", StringComparison.Ordinal) || name is "logit_scale" or "attn_mask") return true;
        if (name is "text_projection" or "text_projection.weight") return !Keys.Contains("text_projection.weight");
        if (name.StartsWith("vision_model.", StringComparison.Ordinal) || name.StartsWith("visual_projection.", StringComparison.Ordinal)) return true;   // whole CLIP models
        return OpenClipLayer().Match(name) is { Success: true } match && Number(match.Groups[1]) == layers;   // Stable Diffusion 2 reads the states before its 24th layer
    }

    private static string ModuleOf(string key) => key[..key.LastIndexOf('.')];

    private static int Number(Group group) => int.Parse(group.ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^encoder\.down_blocks\.(\d+)\.")]
    private static partial Regex VaeLevel();

    [GeneratedRegex(@"^text_model\.encoder\.layers\.(\d+)\.")]
    private static partial Regex Layer();

    [GeneratedRegex(@"^transformer\.resblocks\.(\d{1,4})\.")]
    private static partial Regex OpenClipLayer();
}
