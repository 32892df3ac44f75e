using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;

namespace LowRank.Diffusion;

/// <summary>
/// The keys of a <c>scheduler_config.json</c>: the noise a model was trained with, with the published defaults where a key is absent, and what
/// its authors ask of samplers, null where they ask nothing and a sampler's own default holds.
/// </summary>
internal sealed record NoiseScheduleOptions
{
    /// <summary>Number of training timesteps.</summary>
    public int NumTrainTimesteps { get; init; } = 1000;

    /// <summary>Noise variance of the first timestep, in (0, 1).</summary>
    public double BetaStart { get; init; } = 0.0001;

    /// <summary>Noise variance of the last timestep, in (0, 1).</summary>
    public double BetaEnd { get; init; } = 0.02;

    /// <summary>linear, scaled_linear, squaredcos_cap_v2 (cosine), sigmoid or laplace.</summary>
    public string BetaSchedule { get; init; } = "linear";

    /// <summary>Noise variances given one by one; they replace the formula.</summary>
    public IReadOnlyList<double>? TrainedBetas { get; init; }

    /// <summary>Rescales the variances so that the last timestep is pure noise (Lin et al. 2023, algorithm 1).</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    /// <summary>epsilon, v_prediction, sample or flow_prediction.</summary>
    public string PredictionType { get; init; } = "epsilon";

    /// <summary>How samplers spread their timesteps: linspace, leading or trailing.</summary>
    public string? TimestepSpacing { get; init; }

    /// <summary>Added to every timestep of leading spacing.</summary>
    public int? StepsOffset { get; init; }

    /// <summary>Whether DDIM and PNDM step to ᾱ = 1 after timestep 0, or to ᾱ of timestep 0.</summary>
    public bool? SetAlphaToOne { get; init; }

    /// <summary>Whether the clean picture that a prediction implies is clipped: for models of pixels, not of latents.</summary>
    public bool? ClipSample { get; init; }

    /// <summary>Where it is clipped, in the units of the model's pictures.</summary>
    public double? ClipSampleRange { get; init; }

    /// <summary>Whether PNDM starts without Runge-Kutta steps.</summary>
    public bool? SkipPrkSteps { get; init; }

    /// <summary>Keys of the file that this record does not read.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? OtherKeys { get; init; }

    internal static OptionsException Unsupported(string key, string value, string supported) =>
        new($"{key} is \"{value}\" in the scheduler configuration, which is not supported. Supported: {supported}.");
}
