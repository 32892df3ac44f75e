using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;

namespace LowRank.Models;

/// <summary>
/// A VAE's <c>config.json</c>. Keys that are absent have the published class's defaults
/// (huggingface/diffusers, src/diffusers/models/autoencoders/autoencoder_kl.py), but for the levels, which have those of Stable Diffusion.
/// </summary>
internal sealed record AutoencoderKLConfig
{
    private const string Down = "DownEncoderBlock2D", Up = "UpDecoderBlock2D";

    /// <summary>Keys of which only these values are built, the default first.</summary>
    private static readonly Dictionary<string, string[]> Supported = new()
    {
        ["_class_name"] = ["\"AutoencoderKL\""],
        ["act_fn"] = ["\"silu\"", "\"swish\""],
        ["latents_mean"] = ["null"],
        ["latents_std"] = ["null"],
    };

    public int InChannels { get; set; } = 3;
    public int OutChannels { get; set; } = 3;
    public int LatentChannels { get; set; } = 4;

    /// <summary>Channels of each level, finest first; each but the last halves the sides.</summary>
    public IReadOnlyList<int> BlockOutChannels { get; set; } = [128, 256, 512, 512];
    public IReadOnlyList<string> DownBlockTypes { get; set; } = [Down, Down, Down, Down];
    public IReadOnlyList<string> UpBlockTypes { get; set; } = [Up, Up, Up, Up];
    public int LayersPerBlock { get; set; } = 1;
    public int NormNumGroups { get; set; } = 32;
    public bool MidBlockAddAttention { get; set; } = true;
    public bool UseQuantConv { get; set; } = true;
    public bool UsePostQuantConv { get; set; } = true;

    /// <summary>Latents for a denoiser = (sample - shift) · scaling.</summary>
    public double ScalingFactor { get; set; } = 0.18215;
    public double? ShiftFactor { get; set; }

    /// <summary>Not to be run in 16-bit floats with a narrow range: SDXL's activations leave it.</summary>
    public bool ForceUpcast { get; set; } = true;

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unread { get; set; }

    [JsonIgnore]
    public int Levels => BlockOutChannels.Count;

    /// <summary>Pixels per latent, each axis.</summary>
    [JsonIgnore]
    public int LatentFactor => 1 << (Levels - 1);

    /// <summary>Reads a configuration and refuses what cannot be built.</summary>
    /// <param name="json">Contents of the file.</param>
    /// <param name="source">What to call the file in messages.</param>
    /// <exception cref="CheckpointException">Not JSON, a value of the wrong type, an unsupported value, or values that contradict each other.</exception>
    public static AutoencoderKLConfig Parse(ReadOnlySpan<byte> json, string source)
    {
        var config = HubJson.ReadHub<AutoencoderKLConfig>(json, source);
        PublishedConfig.Refuse(config.Problems(), nameof(AutoencoderKL), source);
        return config;
    }

    private IEnumerable<string> Problems()
    {
        foreach (var problem in PublishedConfig.Unsupported(Unread, Supported)) yield return problem;
        if (Levels == 0) yield return "block_out_channels is []; expected a level at least";
        (string Key, IReadOnlyList<string> Types, string Only)[] lists = [("down_block_types", DownBlockTypes, Down), ("up_block_types", UpBlockTypes, Up)];
        foreach (var (key, types, only) in lists)
        {
            foreach (var type in types.Where(type => type != only).Distinct()) yield return $"{key} has \"{type}\"; supported: \"{only}\"";
            if (types.Count != Levels) yield return $"{key} has {types.Count} entries; block_out_channels has {Levels}";
        }
        (string Key, int Value)[] counts =
        [
            ("in_channels", InChannels), ("out_channels", OutChannels), ("latent_channels", LatentChannels),
            ("layers_per_block", LayersPerBlock), ("norm_num_groups", NormNumGroups), .. BlockOutChannels.Select(channels => ("block_out_channels", channels)),
        ];
        foreach (var (key, value) in counts.Where(item => item.Value < 1)) yield return $"{key} is {value}; expected 1 or more";
        if (NormNumGroups < 1) yield break;
        foreach (var channels in BlockOutChannels.Where(channels => channels % NormNumGroups != 0).Distinct())
        {
            yield return $"block_out_channels has {channels}; norm_num_groups {NormNumGroups} does not divide it";
        }
        if (!(double.IsFinite(ScalingFactor) && ScalingFactor > 0)) yield return string.Create(System.Globalization.CultureInfo.InvariantCulture, $"scaling_factor is {ScalingFactor:R}; expected a positive number");
    }
}
