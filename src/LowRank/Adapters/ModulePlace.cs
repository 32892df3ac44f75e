using System.Text.RegularExpressions;

namespace LowRank.Adapters;

/// <summary>Where in a model a module of a file lies, as far as its name alone tells.</summary>
/// <param name="Component">unet, text_encoder, text_encoder_2, or model where the name does not say.</param>
/// <param name="Block">down.0, mid, up.1, in.4 and out.0 (original names), layers of an encoder, or other.</param>
/// <param name="Layer">The last words of the name: to_q, ff.net.0.proj, conv1.</param>
internal sealed partial record ModulePlace(string Component, string Block, string Layer)
{
    /// <summary>Sorts places as data flows through a model: down, middle, up.</summary>
    public string Order => $"{(Component == "unet" ? 0 : 1)}{Component}{Block.Split('.')[0] switch { "down" or "in" => 0, "mid" => 1, "up" or "out" => 2, _ => 3 }}{Block.Split('.')[^1],3}";

    /// <summary>Component and block; of text encoders and of files without names the component alone.</summary>
    public string InWords => Block is "text" or "by number" ? Component : $"{Component} {Block}";

    /// <summary>What it is a part of: attention, feedforward, convolution (residual blocks with their time embedding), or other.</summary>
    public string Part => Layer switch
    {
        "to_q" or "to_k" or "to_v" or "to_out" or "q_proj" or "k_proj" or "v_proj" or "out_proj" => "attention",
        "fc1" or "fc2" => "feedforward",
        _ when Layer.StartsWith("ff", StringComparison.Ordinal) => "feedforward",
        "conv1" or "conv2" or "conv_shortcut" or "time_emb_proj" or "skip_connection" or "op" or "conv" => "convolution",
        _ when Layer.StartsWith("in_layers", StringComparison.Ordinal) || Layer.StartsWith("out_layers", StringComparison.Ordinal) || Layer.StartsWith("emb_layers", StringComparison.Ordinal) => "convolution",
        _ => "other",
    };

    /// <summary>A module's name with its component as a word: kohya's prefixes are for programs.</summary>
    public string Shorten(string module) => KohyaPrefix().Replace(module, Component + " ");

    public static ModulePlace Of(FileModule module) => module.Convention == AdapterConvention.Package2022
        ? new(module.Lookup[..module.Lookup.IndexOf(':', StringComparison.Ordinal)], "by number", "by number")
        : Of(module.Lookup);

    /// <param name="name">Of any convention that has names; <c>component.path</c> for a model's layer.</param>
    public static ModulePlace Of(string name)
    {
        var block = InBlock().Match(name);
        var component = name switch
        {
            _ when name.StartsWith("lora_te2_", StringComparison.Ordinal) || name.StartsWith("text_encoder_2.", StringComparison.Ordinal) => "text_encoder_2",
            _ when name.StartsWith("lora_te", StringComparison.Ordinal) || TextLayer().IsMatch(name) => "text_encoder",
            _ when name.StartsWith("lora_unet_", StringComparison.Ordinal) || name.StartsWith("unet.", StringComparison.Ordinal) || block.Success => "unet",
            _ => "model",
        };
        var layer = Last().Match(name) is { Success: true } match ? match.Value.Replace("ff_net_0_proj", "ff.net.0.proj", StringComparison.Ordinal).Replace("ff_net_2", "ff.net.2", StringComparison.Ordinal) : name;
        return new(component, component.StartsWith("text", StringComparison.Ordinal) ? "text" : BlockName(block), layer);
    }

    private static string BlockName(Match block) => block switch
    {
        { Success: false } => "other",
        { Groups: var groups } when groups["mid"].Success => "mid",
        { Groups: var groups } => $"{groups["side"].Value switch { "input" => "in", "output" => "out", var side => side }}.{groups["number"].Value}",
    };

    [GeneratedRegex(@"(?:^|[._])(?:(?<side>down|up|input|output)_blocks[._](?<number>\d+)|(?<mid>mid_block|middle_block))[._]")]
    private static partial Regex InBlock();

    [GeneratedRegex("^(?:lora_(?:unet|te[12]?)|lycoris)_")]
    private static partial Regex KohyaPrefix();

    [GeneratedRegex(@"encoder[._]layers[._]\d+[._](?:self_attn|mlp)")]
    private static partial Regex TextLayer();

    [GeneratedRegex(@"(?:to_(?:q|k|v|out)|(?:q|k|v|out)_proj|proj_(?:in|out)|ff[._]net[._](?:0[._]proj|2)|fc[12]|conv[12]|conv_shortcut|time_emb_proj|conv_in|conv_out|(?:in_layers|out_layers|emb_layers)[._]\d|skip_connection|op|conv|linear_[12])(?=(?:[._]0)?$)")]
    private static partial Regex Last();
}
