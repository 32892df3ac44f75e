using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Foundation;

namespace LowRank.Text;

/// <summary>An adapter that a prompt names: <c>&lt;lora:name:0.8&gt;</c>.</summary>
/// <param name="Name">Of the adapter.</param>
/// <param name="TextEncoder">Strength in the text encoders.</param>
/// <param name="Unet">Strength in the UNet.</param>
/// <param name="Blocks">Factors by block, empty for none.</param>
internal sealed record LoraTag(string Name, double TextEncoder, double Unet, IReadOnlyList<double> Blocks);

/// <summary>
/// Adapters that a prompt names, by the rules of AUTOMATIC1111's web UI (extensions-builtin/Lora/extra_networks_lora.py): <c>&lt;lora:name:te:unet&gt;</c>, where
/// unet is te and te is 1 unless given, by place or as <c>te=</c> and <c>unet=</c>; <c>lbw=</c> has block weights, as its extension sd-webui-lora-block-weight writes them.
/// </summary>
internal static partial class PromptTags
{
    /// <summary>Takes the tags out of a prompt; what stands around them stays as it is.</summary>
    /// <exception cref="OptionsException">A tag that is not understood.</exception>
    public static (string Prompt, IReadOnlyList<LoraTag> Tags) Take(string prompt)
    {
        var tags = new List<LoraTag>();
        var rest = Tag().Replace(prompt, match =>
        {
            tags.Add(Parse(match.Value, match.Groups["kind"].Value, match.Groups["arguments"].Value.Split(':')));
            return "";
        });
        if (Begin().Match(rest) is { Success: true } open) throw new OptionsException($"prompt: \"{rest[open.Index..Math.Min(rest.Length, open.Index + 30)]}\" names an adapter, but is no whole tag; write <lora:name:0.8>");
        return (rest, tags);
    }

    /// <summary>Whether a text has a tag, whole or not.</summary>
    public static bool IsIn(string prompt) => Begin().IsMatch(prompt);

    private static LoraTag Parse(string tag, string kind, string[] arguments)
    {
        if (kind.Equals("hypernet", StringComparison.OrdinalIgnoreCase)) throw Refuse(tag, "hypernetworks are not supported; take it out of the prompt");
        var placed = arguments.Where(argument => !argument.Contains('=', StringComparison.Ordinal)).ToList();
        var named = new Dictionary<string, string>();
        foreach (var pair in arguments.Where(argument => argument.Contains('=', StringComparison.Ordinal)).Select(argument => argument.Split('=', 2)))
        {
            if (!named.TryAdd(pair[0].Trim().ToLowerInvariant(), pair[1])) throw Refuse(tag, $"{pair[0]} is given twice; give it once");
        }
        var unknown = named.Keys.FirstOrDefault(key => key is not ("te" or "unet" or "lbw"));
        if (unknown is not null) throw Refuse(tag, $"{unknown}= is not supported; te=, unet= and lbw= are");
        if (placed.Count == 0 || string.IsNullOrWhiteSpace(placed[0])) throw Refuse(tag, "it has no name; write <lora:name:0.8>");
        if (placed.Count > 3) throw Refuse(tag, $"{placed[3]} in the fourth place is not supported; write <lora:name:te:unet>");
        var encoder = named.TryGetValue("te", out var te) ? Number(tag, te) : placed.Count > 1 ? Number(tag, placed[1]) : 1;
        var unet = named.TryGetValue("unet", out var own) ? Number(tag, own) : placed.Count > 2 ? Number(tag, placed[2]) : encoder;
        var blocks = named.TryGetValue("lbw", out var list) ? list.Split(',').Select(text => Number(tag, text)).ToArray() : [];
        return new LoraTag(placed[0].Trim(), encoder, unet, blocks);
    }

    private static double Number(string tag, string text) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) ? number : throw Refuse(tag, $"\"{text}\" is no number");

    private static OptionsException Refuse(string tag, string why) => new($"prompt: {tag} is not understood: {why}");

    [GeneratedRegex("<(?<kind>lora|lyco|hypernet):(?<arguments>[^>]+)>", RegexOptions.IgnoreCase)]
    private static partial Regex Tag();

    [GeneratedRegex("<(?:lora|lyco|hypernet):", RegexOptions.IgnoreCase)]
    private static partial Regex Begin();
}
