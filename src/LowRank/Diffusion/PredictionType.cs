using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>What a denoiser predicts.</summary>
public enum PredictionType
{
    /// <summary>The noise (Ho et al. 2020, eq. 14).</summary>
    Epsilon,
    /// <summary>The velocity √ᾱ·noise − √(1−ᾱ)·latents (Salimans and Ho 2022, appendix D).</summary>
    VPrediction,
    /// <summary>The clean latents.</summary>
    Sample,
    /// <summary>The velocity noise − latents of a straight path (Lipman et al. 2023). Samplers with flow sigmas only; no schedule of this kind is trained.</summary>
    Flow,
}

/// <summary>The one place where predictions are turned into clean latents or noise, with noisy = alpha·latents + sigma·noise.</summary>
internal static class Predictions
{
    /// <summary>The value a <c>scheduler_config.json</c> writes as <c>prediction_type</c>.</summary>
    /// <exception cref="OptionsException">For a word that names no prediction type.</exception>
    public static PredictionType Parse(string word) => word switch
    {
        "epsilon" => PredictionType.Epsilon,
        "v_prediction" => PredictionType.VPrediction,
        "sample" => PredictionType.Sample,
        "flow_prediction" => PredictionType.Flow,
        _ => throw NoiseScheduleOptions.Unsupported("prediction_type", word, "epsilon, v_prediction, sample, flow_prediction"),
    };

    /// <summary>The clean latents that a prediction implies.</summary>
    /// <param name="type">What <paramref name="output"/> is.</param>
    /// <param name="noisy">(B, C, h, w): alpha·latents + sigma·noise.</param>
    /// <param name="output">The denoiser's output, shape and dtype of <paramref name="noisy"/>.</param>
    /// <param name="alpha">√ᾱ; 1 − sigma for <see cref="PredictionType.Flow"/>.</param>
    /// <param name="sigma">√(1−ᾱ); the flow time for <see cref="PredictionType.Flow"/>.</param>
    public static Tensor ToSample(PredictionType type, Tensor noisy, Tensor output, double alpha, double sigma)
    {
        using var scope = NewDisposeScope();
        var sample = type switch
        {
            PredictionType.Epsilon => (noisy - output.Times(sigma)).Over(alpha),
            PredictionType.VPrediction => noisy.Times(alpha) - output.Times(sigma),
            PredictionType.Sample => output.alias(),
            PredictionType.Flow => noisy - output.Times(sigma),
            _ => throw new ArgumentOutOfRangeException(nameof(type), type, null),
        };
        return sample.MoveToOuterDisposeScope();
    }

    /// <summary>The noise that a prediction implies; parameters as in <see cref="ToSample"/>.</summary>
    public static Tensor ToNoise(PredictionType type, Tensor noisy, Tensor output, double alpha, double sigma)
    {
        using var scope = NewDisposeScope();
        var noise = type switch
        {
            PredictionType.Epsilon => output.alias(),
            PredictionType.VPrediction => output.Times(alpha).Plus(noisy.Times(sigma)),
            PredictionType.Sample => (noisy - output.Times(alpha)).Over(sigma),
            PredictionType.Flow => noisy.Plus(output.Times(alpha)),
            _ => throw new ArgumentOutOfRangeException(nameof(type), type, null),
        };
        return noise.MoveToOuterDisposeScope();
    }
}
