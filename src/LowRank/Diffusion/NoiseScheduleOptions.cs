using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;

namespace LowRank.Diffusion;

/// <summary>
/// The keys of a <c>scheduler_config.json</c> that describe the noise a model was trained with. Defaults are those of the published
/// configurations where a key is absent. Keys that describe a sampler are read by that sampler's own options.
/// </summary>
public sealed record NoiseScheduleOptions
{
    /// <summary>Number of training timesteps.</summary>
    public int NumTrainTimesteps { get; init; } = 1000;

    /// <summary>Noise variance of the first timestep, in (0, 1).</summary>
    public double BetaStart { get; init; } = 0.0001;

    /// <summary>Noise variance of the last timestep, in (0, 1).</summary>
    public double BetaEnd { get; init; } = 0.02;

    /// <summary>linear, scaled_linear, squaredcos_cap_v2 (cosine) or sigmoid.</summary>
    public string BetaSchedule { get; init; } = "linear";

    /// <summary>Noise variances given one by one; they replace the formula.</summary>
    public IReadOnlyList<double>? TrainedBetas { get; init; }

    /// <summary>Rescales the variances so that the last timestep is pure noise (Lin et al. 2023, algorithm 1).</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    /// <summary>epsilon, v_prediction, sample or flow_prediction.</summary>
    public string PredictionType { get; init; } = "epsilon";

    /// <summary>Keys of the file that this record does not read.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? OtherKeys { get; init; }

    internal static OptionsException Unsupported(string key, string value, string supported) =>
        new($"{key} is \"{value}\" in the scheduler configuration, which is not supported. Supported: {supported}.");
}
