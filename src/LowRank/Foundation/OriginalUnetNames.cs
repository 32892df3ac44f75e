using System.Globalization;
using System.Text.RegularExpressions;

namespace LowRank.Foundation;

/// <summary>
/// The names of the original implementation of these UNets (generative-models, sgm/modules/diffusionmodules/openaimodel.py),
/// which number all blocks through: with n blocks a level, <c>down_blocks.i.resnets.j</c> is <c>input_blocks.{(n+1)i+j+1}.0</c>.
/// </summary>
internal sealed partial class OriginalUnetNames
{
    private static readonly Dictionary<string, string> Outside = new()
    {
        ["conv_in"] = "input_blocks.0.0",
        ["conv_norm_out"] = "out.0",
        ["conv_out"] = "out.2",
        ["time_embedding.linear_1"] = "time_embed.0",
        ["time_embedding.linear_2"] = "time_embed.2",
        ["add_embedding.linear_1"] = "label_emb.0.0",
        ["add_embedding.linear_2"] = "label_emb.0.2",
    };

    private static readonly Dictionary<string, string> InResnet = new()
    {
        ["norm1"] = "in_layers.0",
        ["conv1"] = "in_layers.2",
        ["norm2"] = "out_layers.0",
        ["conv2"] = "out_layers.3",
        ["time_emb_proj"] = "emb_layers.1",
        ["conv_shortcut"] = "skip_connection",
    };

    private readonly int step;
    private readonly HashSet<string> withAttention;

    /// <param name="paths">Module paths of the whole UNet in diffusers names.</param>
    public OriginalUnetNames(IReadOnlyCollection<string> paths)
    {
        step = 1 + paths.Select(path => FirstLevel().Match(path)).Where(match => match.Success).Select(match => Number(match.Groups[1])).Distinct().Count();
        withAttention = paths.Select(path => Attention().Match(path)).Where(match => match.Success).Select(match => match.Groups[1].Value).ToHashSet();
    }

    /// <summary>The original name of a module, dotted; null for one the original does not have.</summary>
    public string? Of(string path)
    {
        if (Outside.TryGetValue(path, out var outside)) return outside;
        var match = InBlock().Match(path);
        if (!match.Success) return null;
        var (side, list, inside) = (match.Groups["side"].Value, match.Groups["list"].Value, match.Groups["inside"].Value);
        var (i, j) = (match.Groups["i"].Success ? Number(match.Groups["i"]) : 0, Number(match.Groups["j"]));
        if (list == "resnets")
        {
            if (!InResnet.TryGetValue(inside, out var layer)) return null;
            inside = layer;
        }
        FormattableString? place = (side, list) switch
        {
            ("down", "resnets") => $"input_blocks.{step * i + j + 1}.0.{inside}",
            ("down", "attentions") => $"input_blocks.{step * i + j + 1}.1.{inside}",
            ("down", "downsamplers") when inside == "conv" => $"input_blocks.{step * (i + 1)}.0.op",
            ("mid", "resnets") => $"middle_block.{2 * j}.{inside}",
            ("mid", "attentions") => $"middle_block.{2 * j + 1}.{inside}",
            ("up", "resnets") => $"output_blocks.{step * i + j}.0.{inside}",
            ("up", "attentions") => $"output_blocks.{step * i + j}.1.{inside}",
            ("up", "upsamplers") when inside == "conv" => $"output_blocks.{step * i + step - 1}.{(withAttention.Contains($"up_blocks.{i}") ? 2 : 1)}.conv",
            _ => null,
        };
        return place?.ToString(CultureInfo.InvariantCulture);
    }

    private static int Number(Group group) => int.Parse(group.ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^down_blocks\.0\.resnets\.(\d+)\.")]
    private static partial Regex FirstLevel();

    [GeneratedRegex(@"^(up_blocks\.\d+)\.attentions\.")]
    private static partial Regex Attention();

    [GeneratedRegex(@"^(?:(?<side>down|up)_blocks\.(?<i>\d+)|(?<side>mid)_block)\.(?<list>[a-z]+)\.(?<j>\d+)\.(?<inside>.+)$")]
    private static partial Regex InBlock();
}
