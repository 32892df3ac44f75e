using System.Globalization;
using System.Text.RegularExpressions;

namespace LowRank.Families.Original;

/// <summary>
/// The autoencoder's names in the original implementation (CompVis/taming-transformers and CompVis/stable-diffusion, ldm/modules/diffusionmodules/model.py).
/// Its decoder numbers levels from the finest, diffusers from the coarsest.
/// </summary>
internal static partial class OriginalVaeNames
{
    private static readonly Dictionary<string, string> InAttention = new() { ["group_norm"] = "norm", ["to_q"] = "q", ["to_k"] = "k", ["to_v"] = "v", ["to_out.0"] = "proj_out" };

    /// <summary>Where a tensor lies, below the prefix; null for a key that the original does not have.</summary>
    /// <param name="key">In the layout of diffusers.</param>
    /// <param name="levels">Levels of the network.</param>
    public static OriginalTensor? Of(string key, int levels)
    {
        if (InBlock().Match(key) is { Success: true } block)
        {
            var (side, i, inside) = (block.Groups["side"].Value, int.Parse(block.Groups["i"].ValueSpan, CultureInfo.InvariantCulture), block.Groups["inside"].Value);
            var level = side == "down" ? i : levels - 1 - i;
            var part = block.Groups["list"].Value switch
            {
                "resnets" => $"block.{block.Groups["j"].Value}.{inside.Replace("conv_shortcut", "nin_shortcut", StringComparison.Ordinal)}",
                "downsamplers" => $"downsample.{inside}",
                _ => $"upsample.{inside}",
            };
            return new OriginalTensor(string.Create(CultureInfo.InvariantCulture, $"{block.Groups["half"].Value}.{side}.{level}.{part}"));
        }
        if (InMiddle().Match(key) is not { Success: true } middle) return new OriginalTensor(key.Replace("conv_norm_out", "norm_out", StringComparison.Ordinal));
        var half = middle.Groups["half"].Value;
        if (middle.Groups["j"].Success) return new OriginalTensor(string.Create(CultureInfo.InvariantCulture, $"{half}.mid.block_{int.Parse(middle.Groups["j"].ValueSpan, CultureInfo.InvariantCulture) + 1}.{middle.Groups["inside"].Value}"));
        var (layer, kind) = (middle.Groups["layer"].Value, middle.Groups["kind"].Value);
        return InAttention.TryGetValue(layer, out var name) ? new OriginalTensor($"{half}.mid.attn_1.{name}.{kind}", layer != "group_norm" && kind == "weight" ? Turn.Convolution : Turn.None) : null;
    }

    [GeneratedRegex(@"^(?<half>encoder|decoder)\.(?<side>down|up)_blocks\.(?<i>\d+)\.(?<list>resnets|downsamplers|upsamplers)\.(?<j>\d+)\.(?<inside>.+)$")]
    private static partial Regex InBlock();

    [GeneratedRegex(@"^(?<half>encoder|decoder)\.mid_block\.(?:resnets\.(?<j>\d+)\.(?<inside>.+)|attentions\.0\.(?<layer>.+)\.(?<kind>weight|bias))$")]
    private static partial Regex InMiddle();
}
