using System.Text.RegularExpressions;

namespace LowRank.Families.Original;

/// <summary>Names of OpenCLIP's text encoder (mlfoundations/open_clip, src/open_clip/transformer.py), which stacks query, key and value and transposes the projection.</summary>
internal static partial class OpenClipNames
{
    private static readonly Dictionary<string, OriginalTensor> Outside = new()
    {
        ["text_model.embeddings.token_embedding.weight"] = new("token_embedding.weight"),
        ["text_model.embeddings.position_embedding.weight"] = new("positional_embedding"),
        ["text_model.final_layer_norm.weight"] = new("ln_final.weight"),
        ["text_model.final_layer_norm.bias"] = new("ln_final.bias"),
        ["text_projection.weight"] = new("text_projection", Turn.Transposed),
    };

    private static readonly Dictionary<string, string> InLayer = new()
    {
        ["self_attn.out_proj"] = "attn.out_proj",
        ["layer_norm1"] = "ln_1",
        ["layer_norm2"] = "ln_2",
        ["mlp.fc1"] = "mlp.c_fc",
        ["mlp.fc2"] = "mlp.c_proj",
    };

    /// <summary>Where a tensor lies, below the prefix; null for a key that the original does not have.</summary>
    /// <param name="key">In the layout of diffusers.</param>
    public static OriginalTensor? Of(string key)
    {
        if (Outside.TryGetValue(key, out var outside)) return outside;
        if (Layer().Match(key) is not { Success: true } match) return null;
        var (block, inside, kind) = ($"transformer.resblocks.{match.Groups["n"].Value}", match.Groups["inside"].Value, match.Groups["kind"].Value);
        var third = Array.IndexOf(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], inside);
        if (third >= 0) return new OriginalTensor($"{block}.attn.in_proj_{kind}", Turn.Third, third);
        return InLayer.TryGetValue(inside, out var name) ? new OriginalTensor($"{block}.{name}.{kind}") : null;
    }

    [GeneratedRegex(@"^text_model\.encoder\.layers\.(?<n>\d+)\.(?<inside>.+)\.(?<kind>weight|bias)$")]
    private static partial Regex Layer();
}
