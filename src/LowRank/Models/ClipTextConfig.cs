using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;
using static System.FormattableString;

namespace LowRank.Models;

/// <summary>
/// A CLIP text encoder's <c>config.json</c>. Keys that are absent have the published class's defaults
/// (huggingface/transformers, src/transformers/models/clip/configuration_clip.py, CLIPTextConfig).
/// </summary>
internal sealed record ClipTextConfig
{
    private const string QuickGelu = "quick_gelu", Gelu = "gelu";

    /// <summary>Keys of which only these values are built, the default first.</summary>
    private static readonly Dictionary<string, string[]> Supported = new()
    {
        ["attention_dropout"] = ["0"],
        ["dropout"] = ["0"],
        ["model_type"] = ["\"clip_text_model\""],
    };

    public int VocabSize { get; set; } = 49408;
    public int HiddenSize { get; set; } = 512;
    public int IntermediateSize { get; set; } = 2048;
    public int NumHiddenLayers { get; set; } = 12;
    public int NumAttentionHeads { get; set; } = 8;

    /// <summary>Longest prompt in tokens.</summary>
    public int MaxPositionEmbeddings { get; set; } = 77;

    /// <summary>"quick_gelu" (SD 1, SDXL's first) or "gelu" (SD 2, SDXL's second).</summary>
    public string HiddenAct { get; set; } = QuickGelu;
    public double LayerNormEps { get; set; } = 1e-5;

    /// <summary>Width of the projected text; used by CLIPTextModelWithProjection only.</summary>
    public int ProjectionDim { get; set; } = 512;

    /// <summary>
    /// The end token's id. All published configurations say 2, an error of old that means: pool at the largest id,
    /// which an added token, being larger than the end token, takes over.
    /// </summary>
    public int EosTokenId { get; set; } = 49407;

    /// <summary>Factor of the deviations that new weights are drawn with.</summary>
    public double InitializerFactor { get; set; } = 1;

    /// <summary>
    /// The standard deviation that a layer's new weight is drawn with, by its path in <see cref="ClipTextModel"/>; null for layers with another rule.
    /// huggingface/transformers, src/transformers/models/clip/modeling_clip.py, CLIPPreTrainedModel._init_weights; Radford et al. 2021, section 2.5.
    /// </summary>
    internal double? InitialDeviation(string path)
    {
        var width = Math.Pow(HiddenSize, -0.5) * InitializerFactor;
        var deep = width * Math.Pow(2 * NumHiddenLayers, -0.5);
        return path[(path.LastIndexOf('.') + 1)..] switch
        {
            "token_embedding" or "position_embedding" => 0.02 * InitializerFactor,
            "q_proj" or "k_proj" or "v_proj" or "fc2" => deep,
            "out_proj" or "text_projection" => width,
            "fc1" => width * Math.Pow(2, -0.5),
            _ => null,
        };
    }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unread { get; set; }

    [JsonIgnore]
    public ClipEncoderShape EncoderShape => new(HiddenSize, IntermediateSize, NumHiddenLayers, NumAttentionHeads, LayerNormEps, HiddenAct == QuickGelu, Causal: true);

    /// <summary>Reads a configuration and refuses what cannot be built.</summary>
    /// <param name="json">Contents of the file.</param>
    /// <param name="source">What to call the file in messages.</param>
    /// <exception cref="CheckpointException">Not JSON, a value of the wrong type, an unsupported value, or values that contradict each other.</exception>
    public static ClipTextConfig Parse(ReadOnlySpan<byte> json, string source)
    {
        var config = HubJson.ReadHub<ClipTextConfig>(json, source);
        PublishedConfig.Refuse(config.Problems(), "CLIPTextModel", source);
        return config;
    }

    private IEnumerable<string> Problems()
    {
        foreach (var problem in PublishedConfig.Unsupported(Unread, Supported)) yield return problem;
        if (HiddenAct is not (QuickGelu or Gelu)) yield return $"hidden_act is \"{HiddenAct}\"; supported: \"{QuickGelu}\", \"{Gelu}\"";
        (string Key, int Value)[] counts =
        [
            ("vocab_size", VocabSize), ("hidden_size", HiddenSize), ("intermediate_size", IntermediateSize), ("num_hidden_layers", NumHiddenLayers),
            ("num_attention_heads", NumAttentionHeads), ("max_position_embeddings", MaxPositionEmbeddings), ("projection_dim", ProjectionDim),
        ];
        foreach (var (key, value) in counts.Where(item => item.Value < 1)) yield return Invariant($"{key} is {value}; expected 1 or more");
        if (NumAttentionHeads > 0 && HiddenSize % NumAttentionHeads != 0)
        {
            yield return Invariant($"hidden_size is {HiddenSize}; num_attention_heads {NumAttentionHeads} does not divide it");
        }
    }
}
