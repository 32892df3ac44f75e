using System.Globalization;

namespace LowRank.Adapters;

/// <summary>For which base model a file was probably made.</summary>
/// <param name="Name">In words.</param>
/// <param name="Because">What says so.</param>
internal sealed record BaseGuess(string Name, string Because)
{
    private const string One = "Stable Diffusion 1", Two = "Stable Diffusion 2", Xl = "Stable Diffusion XL";

    /// <summary>Width of the text that cross-attention takes.</summary>
    private static readonly Dictionary<long, string> ByTextWidth = new() { [768] = One, [1024] = Two, [2048] = Xl };

    /// <summary>What published tools write as <c>ss_base_model_version</c>.</summary>
    private static readonly (string Start, string Name)[] ByVersion =
    [
        ("sdxl_", Xl), ("sd_v2_v", Two + " (v-prediction)"), ("sd_v2", Two), ("sd_v1_v", One + " (v-prediction)"), ("sd_v1", One), ("sd_1", One), ("sd_2", Two), ("flux", "FLUX"), ("sd3", "Stable Diffusion 3"),
    ];

    private static readonly (string Start, string Name)[] ByArchitecture =
    [
        ("stable-diffusion-xl", Xl), ("stable-diffusion-v2-768-v", Two + " (v-prediction)"), ("stable-diffusion-v2", Two), ("stable-diffusion-v1", One), ("stable-diffusion-v3", "Stable Diffusion 3"), ("flux", "FLUX"),
    ];

    /// <summary>The model that a version of the metadata means; null for one nobody knows.</summary>
    public static string? NameOf(string version) => Array.Find(ByVersion, item => version.StartsWith(item.Start, StringComparison.OrdinalIgnoreCase)).Name;

    /// <summary>From metadata where it has it, else from the shapes and names of the modules; null where nothing says.</summary>
    public static BaseGuess? Of(AdapterFile file) => ByMetadata(file) ?? ByShape(file.Modules);

    /// <summary>Widths of the text that the file's cross-attention takes.</summary>
    public static IReadOnlyList<long> TextWidths(IEnumerable<FileModule> modules) => modules
        .Where(module => module.IsUsable && TakesText(module.Lookup))
        .Select(module => module.Inputs).Where(inputs => inputs > 0).Distinct().Order().ToList();

    public static bool TakesText(string name) => name.EndsWith("attn2.to_k", StringComparison.Ordinal) || name.EndsWith("attn2.to_v", StringComparison.Ordinal)
        || name.EndsWith("attn2_to_k", StringComparison.Ordinal) || name.EndsWith("attn2_to_v", StringComparison.Ordinal);

    private static BaseGuess? ByMetadata(AdapterFile file)
    {
        if (file.Metadata.TryGetValue("lowrank.base", out var own)) return new BaseGuess(own, "metadata");
        if (file.Metadata.TryGetValue("ss_base_model_version", out var version)) return new BaseGuess(NameOf(version) ?? version, "metadata ss_base_model_version");
        if (!file.Metadata.TryGetValue("modelspec.architecture", out var architecture)) return null;
        var known = Array.Find(ByArchitecture, item => architecture.StartsWith(item.Start, StringComparison.OrdinalIgnoreCase)).Name;
        return new BaseGuess(known ?? architecture, "metadata modelspec.architecture");
    }

    private static BaseGuess? ByShape(IReadOnlyList<FileModule> modules)
    {
        if (modules.Any(module => module.Lookup.StartsWith("lora_te2_", StringComparison.Ordinal) || module.Lookup.StartsWith("text_encoder_2.", StringComparison.Ordinal)))
        {
            return new BaseGuess(Xl, "it has a second text encoder");
        }
        var widths = TextWidths(modules);
        // places have no names; no other layer of these UNets has these widths
        if (widths.Count == 0) widths = modules.Where(module => module.IsUsable && module.Lookup.StartsWith("unet:", StringComparison.Ordinal)).Select(module => module.Inputs).Where(ByTextWidth.ContainsKey).Distinct().ToList();
        if (widths.Count == 1)
        {
            return new BaseGuess(ByTextWidth.GetValueOrDefault(widths[0], "a model of another size"), string.Create(CultureInfo.InvariantCulture, $"its cross-attention takes text of width {widths[0]}"));
        }
        var encoder = modules.Where(module => module.IsUsable && module.Lookup.Contains("self_attn", StringComparison.Ordinal) || module.Lookup.StartsWith("text_encoder:", StringComparison.Ordinal)).Select(module => module.IsUsable ? module.Inputs : 0).Distinct().ToList();
        return encoder switch
        {
            [768] => new BaseGuess($"{One} or {Xl}", "its text encoder has width 768"),
            [1024] => new BaseGuess(Two, "its text encoder has width 1024"),
            _ => null,
        };
    }
}
