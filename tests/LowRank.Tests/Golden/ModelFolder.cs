using System.Text.Json;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>The model of an adapter case as a folder of configurations, as <c>--model</c> takes it.</summary>
internal static class ModelFolder
{
    /// <summary>The <c>params</c> of the tiny Stable Diffusion 1 that the adapter files of the repository are for, whatever cases a run reads.</summary>
    public static JsonElement Tiny { get; } = JsonDocument.Parse("""
        {
          "unet": {
            "sample_size": 8, "in_channels": 4, "out_channels": 4, "block_out_channels": [16, 32], "layers_per_block": 1,
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
            "cross_attention_dim": 12, "attention_head_dim": 4, "norm_num_groups": 8
          },
          "text_encoder": {
            "vocab_size": 64, "hidden_size": 12, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3,
            "max_position_embeddings": 16, "bos_token_id": 62, "eos_token_id": 63, "pad_token_id": 63
          }
        }
        """).RootElement;

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
