using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;

namespace LowRank.Models;

/// <summary>
/// A UNet's <c>config.json</c>. Keys that are absent have the published class's defaults
/// (huggingface/diffusers, src/diffusers/models/unets/unet_2d_condition.py).
/// </summary>
internal sealed record UNet2DConditionConfig
{
    private const string Down = "DownBlock2D", CrossDown = "CrossAttnDownBlock2D", Up = "UpBlock2D", CrossUp = "CrossAttnUpBlock2D";
    private const string TextTime = "text_time";

    /// <summary>Keys of which only these values are built, the default first.</summary>
    private static readonly Dictionary<string, string[]> Supported = new()
    {
        ["_class_name"] = ["\"UNet2DConditionModel\""],
        ["act_fn"] = ["\"silu\"", "\"swish\""],
        ["attention_type"] = ["\"default\""],
        ["center_input_sample"] = ["false"],
        ["class_embed_type"] = ["null"],
        ["class_embeddings_concat"] = ["false"],
        ["conv_in_kernel"] = ["3"],
        ["conv_out_kernel"] = ["3"],
        ["cross_attention_norm"] = ["null"],
        ["downsample_padding"] = ["1"],
        ["dropout"] = ["0"],
        ["dual_cross_attention"] = ["false"],
        ["encoder_hid_dim"] = ["null"],
        ["encoder_hid_dim_type"] = ["null"],
        ["mid_block_only_cross_attention"] = ["null", "false"],
        ["mid_block_scale_factor"] = ["1"],
        ["mid_block_type"] = ["\"UNetMidBlock2DCrossAttn\""],
        ["num_attention_heads"] = ["null"],
        ["num_class_embeds"] = ["null"],
        ["only_cross_attention"] = ["false"],
        ["resnet_out_scale_factor"] = ["1"],
        ["resnet_skip_time_act"] = ["false"],
        ["resnet_time_scale_shift"] = ["\"default\""],
        ["reverse_transformer_layers_per_block"] = ["null"],
        ["time_cond_proj_dim"] = ["null"],
        ["time_embedding_act_fn"] = ["null"],
        ["time_embedding_dim"] = ["null"],
        ["time_embedding_type"] = ["\"positional\""],
        ["timestep_post_act"] = ["null"],
    };

    /// <summary>4, or 9 for inpainting.</summary>
    public int InChannels { get; set; } = 4;
    public int OutChannels { get; set; } = 4;

    /// <summary>Channels of each level, finest first.</summary>
    public IReadOnlyList<int> BlockOutChannels { get; set; } = [320, 640, 1280, 1280];
    public IReadOnlyList<string> DownBlockTypes { get; set; } = [CrossDown, CrossDown, CrossDown, Down];
    public IReadOnlyList<string> UpBlockTypes { get; set; } = [Up, CrossUp, CrossUp, CrossUp];
    public PerLevel LayersPerBlock { get; set; } = 2;

    /// <summary>In spite of its name the number of heads; the published class kept the name for old files.</summary>
    public PerLevel AttentionHeadDim { get; set; } = 8;
    public PerLevel TransformerLayersPerBlock { get; set; } = 1;

    /// <summary>Width of the text states.</summary>
    public int CrossAttentionDim { get; set; } = 1280;

    /// <summary>Linear layers into and out of the transformers instead of 1×1 convolutions.</summary>
    public bool UseLinearProjection { get; set; }
    public int NormNumGroups { get; set; } = 32;

    /// <summary>Of the resnets and of the last norm; the transformers' is fixed.</summary>
    public double NormEps { get; set; } = 1e-5;
    public bool FlipSinToCos { get; set; } = true;
    public double FreqShift { get; set; }

    /// <summary>Null, or "text_time" (SDXL): pooled text and sizes join the timestep.</summary>
    public string? AdditionEmbedType { get; set; }

    /// <summary>Sinusoid size of each of the six time ids.</summary>
    public int? AdditionTimeEmbedDim { get; set; }

    /// <summary>Pooled text and six sinusoids together.</summary>
    public int? ProjectionClassEmbeddingsInputDim { get; set; }

    /// <summary>Side of the latents the model was made for; does not change the network.</summary>
    public PerLevel? SampleSize { get; set; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unread { get; set; }

    [JsonIgnore]
    public int Levels => BlockOutChannels.Count;

    [JsonIgnore]
    public bool HasTextTime => AdditionEmbedType is not null;

    /// <summary>Width of the pooled text; zero for networks without.</summary>
    [JsonIgnore]
    public int PooledSize => HasTextTime ? ProjectionClassEmbeddingsInputDim!.Value - 6 * AdditionTimeEmbedDim!.Value : 0;

    public bool DownHasAttention(int level) => DownBlockTypes[level] == CrossDown;

    /// <param name="index">Of the up block: 0 is the coarsest level.</param>
    public bool UpHasAttention(int index) => UpBlockTypes[index] == CrossUp;

    /// <summary>Reads a configuration and refuses what cannot be built.</summary>
    /// <param name="json">Contents of the file.</param>
    /// <param name="source">What to call the file in messages.</param>
    /// <exception cref="CheckpointException">Not JSON, a value of the wrong type, an unsupported value, or values that contradict each other.</exception>
    public static UNet2DConditionConfig Parse(ReadOnlySpan<byte> json, string source)
    {
        var config = HubJson.ReadHub<UNet2DConditionConfig>(json, source);
        PublishedConfig.Refuse(config.Problems(), nameof(UNet2DConditionModel), source);
        return config;
    }

    private IEnumerable<string> Problems() =>
        PublishedConfig.Unsupported(Unread, Supported).Concat(LevelProblems()).Concat(SizeProblems()).Concat(AdditionProblems());

    private IEnumerable<string> LevelProblems()
    {
        if (Levels == 0) yield return "block_out_channels is []; expected a level at least";
        foreach (var type in DownBlockTypes.Where(type => type is not (Down or CrossDown)).Distinct())
        {
            yield return $"down_block_types has \"{type}\"; supported: \"{Down}\", \"{CrossDown}\"";
        }
        foreach (var type in UpBlockTypes.Where(type => type is not (Up or CrossUp)).Distinct())
        {
            yield return $"up_block_types has \"{type}\"; supported: \"{Up}\", \"{CrossUp}\"";
        }
        (string Key, int Count)[] lists =
        [
            ("down_block_types", DownBlockTypes.Count), ("up_block_types", UpBlockTypes.Count), ("layers_per_block", Length(LayersPerBlock)),
            ("attention_head_dim", Length(AttentionHeadDim)), ("transformer_layers_per_block", Length(TransformerLayersPerBlock)),
        ];
        foreach (var (key, count) in lists.Where(list => list.Count != Levels)) yield return $"{key} has {count} entries; block_out_channels has {Levels}";
    }

    private int Length(PerLevel value) => value.IsList ? value.Values.Count : Levels;

    private IEnumerable<string> SizeProblems()
    {
        (string Key, IEnumerable<int> Values)[] counts =
        [
            ("in_channels", [InChannels]), ("out_channels", [OutChannels]), ("block_out_channels", BlockOutChannels), ("norm_num_groups", [NormNumGroups]),
            ("layers_per_block", LayersPerBlock.Values), ("attention_head_dim", AttentionHeadDim.Values),
            ("transformer_layers_per_block", TransformerLayersPerBlock.Values), ("cross_attention_dim", [CrossAttentionDim]),
        ];
        var negative = counts.Where(item => item.Values.Any(value => value < 1)).ToArray();
        foreach (var (key, values) in negative) yield return $"{key} is {string.Join(", ", values)}; expected 1 or more";
        if (negative.Length > 0 || LevelProblems().Any()) yield break;
        for (var level = 0; level < Levels; level++)
        {
            var (channels, heads) = (BlockOutChannels[level], AttentionHeadDim[level]);
            if (channels % NormNumGroups != 0) yield return $"block_out_channels has {channels}; norm_num_groups {NormNumGroups} does not divide it";
            var attends = DownHasAttention(level) || UpHasAttention(Levels - 1 - level) || level == Levels - 1;
            if (attends && channels % heads != 0) yield return $"block_out_channels has {channels}; attention_head_dim {heads} (the number of heads) does not divide it";
        }
        if (BlockOutChannels[0] % 2 != 0) yield return $"block_out_channels starts with {BlockOutChannels[0]}; expected an even number, the size of the timestep's sinusoid";
        if (FreqShift >= BlockOutChannels[0] / 2) yield return $"freq_shift is {FreqShift:R}; expected less than half of {BlockOutChannels[0]}";
    }

    private IEnumerable<string> AdditionProblems()
    {
        if (AdditionEmbedType is null) yield break;
        if (AdditionEmbedType != TextTime)
        {
            yield return $"addition_embed_type is \"{AdditionEmbedType}\"; supported: null, \"{TextTime}\"";
        }
        else if (AdditionTimeEmbedDim is not { } each || each < 2 || each % 2 != 0)
        {
            yield return $"addition_time_embed_dim is {AdditionTimeEmbedDim?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "null"}; \"{TextTime}\" needs an even number";
        }
        else if (ProjectionClassEmbeddingsInputDim is not { } all || all <= 6 * each)
        {
            yield return $"projection_class_embeddings_input_dim is {ProjectionClassEmbeddingsInputDim?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "null"}; " +
                $"\"{TextTime}\" needs more than six times addition_time_embed_dim, {6 * each}";
        }
    }
}
