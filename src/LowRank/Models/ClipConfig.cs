using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;

namespace LowRank.Models;

/// <summary>The <c>config.json</c> of a whole CLIP model, or of its picture encoder alone.</summary>
/// <param name="Vision">The picture encoder.</param>
/// <param name="Text">The text encoder; null where the folder has only the picture encoder.</param>
internal sealed record ClipConfig(ClipVisionConfig Vision, ClipTextConfig? Text)
{
    /// <summary>Reads the file.</summary>
    /// <exception cref="CheckpointException">The file is missing or damaged, of another model, or of a CLIP that cannot be built.</exception>
    public static ClipConfig Read(string path)
    {
        var whole = HubJson.ReadHub<Whole>(path);
        switch (whole.ModelType)
        {
            case "clip_vision_model":
                return new ClipConfig(ClipVisionConfig.Parse(File.ReadAllBytes(path), path), null);
            case "clip" when whole.VisionConfig.ValueKind == JsonValueKind.Object && whole.TextConfig.ValueKind == JsonValueKind.Object:
                var vision = ClipVisionConfig.Parse(JsonSerializer.SerializeToUtf8Bytes(whole.VisionConfig), $"vision_config of {path}");
                var text = ClipTextConfig.Parse(JsonSerializer.SerializeToUtf8Bytes(whole.TextConfig), $"text_config of {path}");
                // the parts may name projections of their own, which a whole model does not read (CLIPModel.__init__)
                return new ClipConfig(vision with { ProjectionDim = whole.ProjectionDim }, text with { ProjectionDim = whole.ProjectionDim });
            default:
                var found = whole.ModelType is null ? "there is none" : $"it is \"{whole.ModelType}\"";
                throw new CheckpointException($"no CLIP model: model_type \"clip\" with text_config and vision_config, or \"clip_vision_model\", is expected, and {found}; in {path}; give the folder of a CLIP model, such as openai/clip-vit-large-patch14");
        }
    }

    /// <summary>The keys of a whole model that are read here.</summary>
    private sealed record Whole
    {
        public string? ModelType { get; set; }

        public int ProjectionDim { get; set; } = 512;

        public JsonElement VisionConfig { get; set; }

        public JsonElement TextConfig { get; set; }

        [JsonExtensionData]
        public Dictionary<string, JsonElement>? Unread { get; set; }
    }
}
