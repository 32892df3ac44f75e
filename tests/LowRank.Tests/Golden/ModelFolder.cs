using System.Text.Json;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>The model of an adapter case as a folder of configurations, as <c>--model</c> takes it.</summary>
internal static class ModelFolder
{
    /// <summary>Writes index and configurations; no weights.</summary>
    /// <param name="folder">Where to.</param>
    /// <param name="parameters">The case's <c>params</c>: a configuration for each component, seeds and the like beside them.</param>
    /// <returns>The model's folder.</returns>
    public static string Write(TemporaryFolder folder, JsonElement parameters)
    {
        var index = new Dictionary<string, object> { ["_class_name"] = "StableDiffusionPipeline" };
        foreach (var part in parameters.EnumerateObject().Where(item => item.Value.ValueKind == JsonValueKind.Object))
        {
            index[part.Name] = new[] { "-", part.Name switch { "unet" => "UNet2DConditionModel", "text_encoder" => "CLIPTextModel", _ => "CLIPTextModelWithProjection" } };
            File.WriteAllText(folder.Path("model", part.Name, "config.json"), part.Value.GetRawText());
        }
        File.WriteAllText(folder.Path("model", "model_index.json"), JsonSerializer.Serialize(index));
        return folder.Path("model");
    }
}
