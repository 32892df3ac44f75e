using System.Text.Json;

namespace LowRank.Adapters.Formats;

/// <summary>
/// <c>adapter_config.json</c> of one part of a model (huggingface/peft, src/peft/tuners/lora/config.py): what PEFT needs to build the layers that the factors
/// belong to. Rank and alpha are the most common ones, with patterns for the others: nothing is folded, no number changes.
/// </summary>
internal static class PeftConfig
{
    private static readonly JsonWriterOptions Indented = new() { Indented = true };

    /// <param name="modules">Of one part; all LoRA or all DoRA.</param>
    public static string Of(IReadOnlyList<ConvertedModule> modules)
    {
        var sizes = modules.Select(module => (Path: ModuleKeys.Path(module.Layer), module.Source.Rank, Alpha: module.Source.EffectiveAlpha)).ToList();
        var rank = sizes.GroupBy(item => item.Rank).MaxBy(group => group.Count())!.Key;
        var alpha = sizes.GroupBy(item => item.Alpha).MaxBy(group => group.Count())!.Key;
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Indented))
        {
            json.WriteStartObject();
            json.WriteString("peft_type", "LORA");
            json.WriteNull("task_type");
            json.WriteNull("base_model_name_or_path");
            json.WriteBoolean("inference_mode", true);
            json.WriteNumber("r", rank);
            json.WriteNumber("lora_alpha", alpha);
            Pattern(json, "rank_pattern", sizes.Where(item => item.Rank != rank).Select(item => (item.Path, (double)item.Rank)));
            Pattern(json, "alpha_pattern", sizes.Where(item => item.Alpha != alpha).Select(item => (item.Path, item.Alpha)));
            json.WriteNumber("lora_dropout", 0);
            json.WriteBoolean("fan_in_fan_out", false);
            json.WriteString("bias", "none");
            json.WriteBoolean("use_rslora", false);
            json.WriteBoolean("use_dora", modules[0].IsDora);
            json.WriteStartArray("target_modules");
            foreach (var (path, _, _) in sizes) json.WriteStringValue(path);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return System.Text.Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    private static void Pattern(Utf8JsonWriter json, string name, IEnumerable<(string Path, double Value)> items)
    {
        json.WriteStartObject(name);
        foreach (var (path, value) in items) json.WriteNumber(path, value);
        json.WriteEndObject();
    }
}
