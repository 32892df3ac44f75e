using System.Text.RegularExpressions;

namespace LowRank.Adapters.Formats;

/// <summary>How each convention names a parameter of a layer, and which layers it has no name for.</summary>
/// <param name="convention">Any but the package of 2022, whose names are places.</param>
/// <param name="names">Of the model.</param>
internal sealed partial class ModuleKeys(WrittenConvention convention, ModuleNames names)
{
    /// <summary>The name of a layer: what stands before the parameter. A layer that <see cref="Lacks"/> names has none.</summary>
    public string Module(ModelLayer layer) => convention switch
    {
        WrittenConvention.Kohya => names.Kohya(layer.Component, layer.Path),
        WrittenConvention.Lycoris => "lycoris_" + Path(layer).Replace('.', '_'),
        WrittenConvention.Peft => "base_model.model." + Path(layer),
        WrittenConvention.Diffusers => Peft(layer),
        _ when layer.Component == "unet" => UnetAttention().Replace(Peft(layer), "${block}.processor.to_${name}"),
        WrittenConvention.AttnProcs => TextAttention().Replace(Peft(layer), "${block}.to_${name}"),
        _ => Peft(layer),
    };

    /// <summary>A parameter of a layer.</summary>
    /// <param name="layer">With a name.</param>
    /// <param name="parameter">As <see cref="AdapterKey"/> calls it, or as kohya's files do.</param>
    public string Of(ModelLayer layer, string parameter) => Module(layer) + (convention, parameter) switch
    {
        (WrittenConvention.Peft or WrittenConvention.Diffusers, AdapterKey.Down) => ".lora_A.weight",
        (WrittenConvention.Peft or WrittenConvention.Diffusers, AdapterKey.Up) => ".lora_B.weight",
        (WrittenConvention.DiffusersOld, AdapterKey.Down or AdapterKey.Up) when layer.Component != "unet" => $".lora_linear_layer.{parameter}.weight",
        (WrittenConvention.DiffusersOld or WrittenConvention.AttnProcs, AdapterKey.Down or AdapterKey.Up) => $"_lora.{parameter}.weight",
        _ => "." + parameter,
    };

    /// <summary>Why the convention has no name for a layer; null where it has one.</summary>
    public string? Lacks(ModelLayer layer) => convention switch
    {
        WrittenConvention.Lycoris when names.Find(Module(layer)) is { Count: > 1 } several => $"its name there would also be a layer's of {string.Join(" and ", several.Where(other => other != layer).Select(other => other.Component))}",
        WrittenConvention.DiffusersOld or WrittenConvention.AttnProcs when !(layer.Component == "unet" ? UnetAttention() : TextAttention()).IsMatch(Peft(layer)) => "no projection of an attention",
        _ => null,
    };

    private static string Peft(ModelLayer layer) => ModuleNames.Peft(layer.Component, layer.Path);

    /// <summary>Inside its part, text encoders with the level <c>text_model</c>.</summary>
    public static string Path(ModelLayer layer) => Peft(layer)[(layer.Component.Length + 1)..];

    [GeneratedRegex(@"^(?<block>unet\..+\.attn[12])\.to_(?<name>q|k|v|out)(?:\.0)?$")]
    private static partial Regex UnetAttention();

    [GeneratedRegex(@"^(?<block>text_encoder(?:_2)?\..+\.self_attn)\.(?<name>q|k|v|out)_proj$")]
    private static partial Regex TextAttention();
}
