using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;
using static System.FormattableString;

namespace LowRank.Models;

/// <summary>
/// A CLIP picture encoder's <c>config.json</c>, or the <c>vision_config</c> in that of a whole CLIP model. Keys that are absent have the published
/// class's defaults (huggingface/transformers, src/transformers/models/clip/configuration_clip.py, CLIPVisionConfig).
/// </summary>
internal sealed record ClipVisionConfig
{
    private const string QuickGelu = "quick_gelu", Gelu = "gelu";

    /// <summary>Keys of which only these values are built, the default first.</summary>
    private static readonly Dictionary<string, string[]> Supported = new()
    {
        ["attention_dropout"] = ["0"],
        ["dropout"] = ["0"],
        ["num_channels"] = ["3"],
        ["model_type"] = ["\"clip_vision_model\""],
    };

    public int HiddenSize { get; set; } = 768;
    public int IntermediateSize { get; set; } = 3072;
    public int NumHiddenLayers { get; set; } = 12;
    public int NumAttentionHeads { get; set; } = 12;

    /// <summary>Side of the pictures in pixels.</summary>
    public int ImageSize { get; set; } = 224;

    /// <summary>Side of a patch in pixels.</summary>
    public int PatchSize { get; set; } = 32;

    /// <summary>"quick_gelu" (OpenAI's) or "gelu" (OpenCLIP's H and bigG).</summary>
    public string HiddenAct { get; set; } = QuickGelu;
    public double LayerNormEps { get; set; } = 1e-5;

    /// <summary>Numbers to a picture behind the projection; a whole CLIP model says it outside of this part.</summary>
    public int ProjectionDim { get; set; } = 512;

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unread { get; set; }

    [JsonIgnore]
    public ClipEncoderShape EncoderShape => new(HiddenSize, IntermediateSize, NumHiddenLayers, NumAttentionHeads, LayerNormEps, HiddenAct == QuickGelu, Causal: false);

    /// <summary>Patches of a picture.</summary>
    [JsonIgnore]
    public int Patches => ImageSize / PatchSize * (ImageSize / PatchSize);

    /// <summary>Reads a configuration and refuses what cannot be built.</summary>
    /// <param name="json">Contents of the file, or of that part of it.</param>
    /// <param name="source">What to call the file in messages.</param>
    /// <exception cref="CheckpointException">Not JSON, a value of the wrong type, an unsupported value, or values that contradict each other.</exception>
    public static ClipVisionConfig Parse(ReadOnlySpan<byte> json, string source)
    {
        var config = HubJson.ReadHub<ClipVisionConfig>(json, source);
        PublishedConfig.Refuse(config.Problems(), "CLIPVisionModelWithProjection", source);
        return config;
    }

    private IEnumerable<string> Problems()
    {
        foreach (var problem in PublishedConfig.Unsupported(Unread, Supported)) yield return problem;
        if (HiddenAct is not (QuickGelu or Gelu)) yield return $"hidden_act is \"{HiddenAct}\"; supported: \"{QuickGelu}\", \"{Gelu}\"";
        (string Key, int Value)[] counts =
        [
            ("hidden_size", HiddenSize), ("intermediate_size", IntermediateSize), ("num_hidden_layers", NumHiddenLayers),
            ("num_attention_heads", NumAttentionHeads), ("image_size", ImageSize), ("patch_size", PatchSize), ("projection_dim", ProjectionDim),
        ];
        foreach (var (key, value) in counts.Where(item => item.Value < 1)) yield return Invariant($"{key} is {value}; expected 1 or more");
        if (NumAttentionHeads > 0 && HiddenSize % NumAttentionHeads != 0) yield return Invariant($"hidden_size is {HiddenSize}; num_attention_heads {NumAttentionHeads} does not divide it");
        if (PatchSize > ImageSize) yield return Invariant($"patch_size is {PatchSize}; larger than image_size {ImageSize}");
    }
}
