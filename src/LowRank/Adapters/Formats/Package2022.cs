using System.Globalization;
using System.Text.RegularExpressions;

namespace LowRank.Adapters.Formats;

/// <summary>
/// The order in which the package of 2022 (cloneofsimo/lora, lora_diffusion/lora.py) walked a model, which is all that its files say
/// of where a factor belongs: down blocks, up blocks, middle block; in each the transformer blocks, then (extended files) the resnets.
/// A file fits the first layout that has its number of modules and the shapes of all of them.
/// </summary>
internal static partial class Package2022
{
    /// <summary>The modules of one component in the order of each layout: its name, and paths.</summary>
    public static IEnumerable<(string Layout, IReadOnlyList<string> Paths)> Layouts(string component, IReadOnlyCollection<string> paths)
    {
        if (component != "unet")
        {
            yield return ("k, v, q, out", Ordered(paths, path => TextLayer().Match(path), match => [Number(match, "i"), Array.IndexOf(TextOrder, match.Groups["name"].Value)]));
            yield break;
        }
        yield return ("attention only", Unet(paths, feedforwardFirst: false, feedforward: false, extended: false));
        yield return ("feedforward between the attentions", Unet(paths, feedforwardFirst: true, feedforward: true, extended: false));
        yield return ("feedforward last", Unet(paths, feedforwardFirst: false, feedforward: true, extended: false));
        yield return ("feedforward between the attentions, with resnets", Unet(paths, feedforwardFirst: true, feedforward: true, extended: true));
        yield return ("feedforward last, with resnets", Unet(paths, feedforwardFirst: false, feedforward: true, extended: true));
    }

    private static readonly string[] TextOrder = ["k", "v", "q", "out"];
    private static readonly string[] AttentionOrder = ["q", "k", "v", "out.0"];
    private static readonly string[] ResnetOrder = ["conv1", "time_emb_proj", "conv2", "conv_shortcut"];

    private static List<string> Unet(IEnumerable<string> paths, bool feedforwardFirst, bool feedforward, bool extended) =>
        Ordered(paths, path => UnetLayer().Match(path), match =>
        {
            var block = match.Groups["side"].Value switch { "down" => 0, "up" => 1, _ => 2 };
            var level = match.Groups["i"].Success ? Number(match, "i") : 0;
            if (match.Groups["resnet"].Success)
            {
                return extended ? [block, level, 1, Number(match, "j"), 0, 0, Array.IndexOf(ResnetOrder, match.Groups["resnet"].Value)] : null;
            }
            int[] transformer = [block, level, 0, Number(match, "j"), Number(match, "k")];
            if (!match.Groups["attention"].Success) return feedforward ? [.. transformer, feedforwardFirst ? 1 : 3, 0] : null;
            return [.. transformer, match.Groups["attention"].Value == "1" ? 0 : 2, Array.IndexOf(AttentionOrder, match.Groups["name"].Value)];
        });

    private static List<string> Ordered(IEnumerable<string> paths, Func<string, Match> match, Func<Match, int[]?> place) =>
        paths.Select(path => (Path: path, Match: match(path)))
            .Where(item => item.Match.Success)
            .Select(item => (item.Path, Place: place(item.Match)))
            .Where(item => item.Place is not null)
            .OrderBy(item => item.Place, Comparer<int[]?>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)))
            .Select(item => item.Path)
            .ToList();

    private static int Number(Match match, string group) => int.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^(?:text_model\.)?encoder\.layers\.(?<i>\d+)\.self_attn\.(?<name>q|k|v|out)_proj$")]
    private static partial Regex TextLayer();

    [GeneratedRegex(@"^(?:(?<side>down|up)_blocks\.(?<i>\d+)|(?<side>mid)_block)\.(?:attentions\.(?<j>\d+)\.transformer_blocks\.(?<k>\d+)\.(?:attn(?<attention>[12])\.to_(?<name>q|k|v|out\.0)|ff\.net\.0\.proj)|resnets\.(?<j>\d+)\.(?<resnet>conv1|time_emb_proj|conv2|conv_shortcut))$")]
    private static partial Regex UnetLayer();
}
