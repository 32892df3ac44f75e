using System.Collections.ObjectModel;
using System.Globalization;
using LowRank.Adapters;

namespace LowRank.Recipes;

/// <summary>An adapter file and how strongly it works.</summary>
/// <param name="File">The adapter, or the name of one that comes with the program.</param>
/// <param name="Strength">1 as trained, 0 not at all; negative takes away.</param>
public sealed record AdapterUse(string File, double Strength = 1)
{
    private const string BlocksKey = "blocks";
    private static readonly string[] PartNames = ["unet", "text_encoder", "text_encoder_2"];

    /// <summary>Factors of the strength in parts of the model: unet, text_encoder, text_encoder_2 (where it is not named, text_encoder holds for both). Parts without have 1.</summary>
    public IReadOnlyDictionary<string, double> Parts { get; init; } = ReadOnlyDictionary<string, double>.Empty;

    /// <summary>
    /// Factors of the strength in the blocks of the UNet, as block weights are written: BASE (all outside the UNet's blocks), IN00, …, MID, OUT00, …; for every block (26 for SD 1 and 2,
    /// 20 for SDXL), or for those with attention (17, 12). Empty: 1 everywhere.
    /// </summary>
    public IReadOnlyList<double> Blocks { get; init; } = [];

    /// <summary>
    /// Reads <c>FILE</c>, <c>FILE=STRENGTH</c>, or <c>FILE=STRENGTH,unet:X,text_encoder:X,blocks:X/X/…</c> with any of these, in any order; an equals sign that no such thing follows
    /// belongs to the name.
    /// </summary>
    public static AdapterUse Parse(string text)
    {
        var equals = text.LastIndexOf('=');
        if (equals <= 0) return new AdapterUse(text);
        double? strength = null;
        var parts = new Dictionary<string, double>();
        IReadOnlyList<double>? blocks = null;
        foreach (var item in text[(equals + 1)..].Split(','))
        {
            var (key, value) = item.Split(':', 2) is [var name, var rest] ? (name.Trim(), rest) : ("", item);
            var good = key switch
            {
                "" => strength is null && Number(value, out strength),
                BlocksKey => blocks is null && (blocks = Numbers(value)) is not null,
                _ => PartNames.Contains(key) && Number(value, out var factor) && parts.TryAdd(key, factor.Value),
            };
            if (!good) return new AdapterUse(text);
        }
        return new AdapterUse(text[..equals], strength ?? 1) { Parts = parts.Count > 0 ? parts : ReadOnlyDictionary<string, double>.Empty, Blocks = blocks ?? [] };
    }

    /// <summary>What is wrong with the numbers; null for nothing.</summary>
    internal string? Problem()
    {
        var wrong = Blocks.Concat(Parts.Values).Prepend(Strength).Where(number => !double.IsFinite(number)).Take(1).ToList();
        return wrong.Count == 0 ? null : string.Create(CultureInfo.InvariantCulture, $"{File} has strength {wrong[0]}; must be a number");
    }

    internal PartStrengths PartStrengths => new(Parts, Blocks);

    /// <summary>The strengths as words: "0.8", "0.8 text_encoder:0.5".</summary>
    internal string InWords() => string.Join(' ', [
        Strength.ToString(CultureInfo.InvariantCulture),
        .. Parts.Select(part => string.Create(CultureInfo.InvariantCulture, $"{part.Key}:{part.Value}")),
        .. Blocks.Count == 0 ? Array.Empty<string>() : [$"{BlocksKey}:{string.Join('/', Blocks.Select(factor => factor.ToString(CultureInfo.InvariantCulture)))}"]]);

    private static bool Number(string text, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out double? number)
    {
        number = double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : null;
        return number is not null;
    }

    private static double[]? Numbers(string text)
    {
        var numbers = text.Split('/').Select(item => Number(item, out var number) ? number : null).ToList();
        return numbers.TrueForAll(number => number is not null) ? [.. numbers.Select(number => number!.Value)] : null;
    }
}

/// <summary>A file with a learned token, and what to call it.</summary>
/// <param name="File">The embedding: A1111, sd-scripts, diffusers or SDXL form.</param>
/// <param name="Token">The word in prompts; null for the name that the file gives, else its file name.</param>
public sealed record EmbeddingUse(string File, string? Token = null)
{
    /// <summary>Reads <c>FILE</c> or <c>FILE=TOKEN</c>; an equals sign in the name of a file that exists belongs to the name.</summary>
    public static EmbeddingUse Parse(string text)
    {
        var equals = text.LastIndexOf('=');
        return equals <= 0 || System.IO.File.Exists(text) ? new EmbeddingUse(text) : new EmbeddingUse(text[..equals], text[(equals + 1)..]);
    }
}
