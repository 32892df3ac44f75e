using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>What one training step shows the denoiser and what it must answer. Owned by the caller, as every tensor a function returns.</summary>
/// <param name="Noisy">√ᾱ·latents + √(1−ᾱ)·noise, shape and dtype of the latents.</param>
/// <param name="Target">The noise, the velocity or the latents, shape and dtype of the latents.</param>
internal readonly record struct TrainingTarget(Tensor Noisy, Tensor Target)
{
    /// <summary>Noises latents and makes the target of a prediction type.</summary>
    /// <param name="schedule">The schedule the model was trained with.</param>
    /// <param name="type">What the denoiser predicts.</param>
    /// <param name="latents">Scaled latents (B, C, h, w), float32.</param>
    /// <param name="noise">Like <paramref name="latents"/>.</param>
    /// <param name="timesteps">B timesteps, 0…T − 1.</param>
    /// <param name="perturbation">More noise in what the denoiser sees, which is not in the target; null for none.</param>
    /// <exception cref="OptionsException">For flow prediction, which no schedule of this kind trains.</exception>
    public static TrainingTarget Of(NoiseSchedule schedule, PredictionType type, Tensor latents, Tensor noise, ReadOnlySpan<long> timesteps, Tensor? perturbation = null)
    {
        var target = type switch
        {
            PredictionType.Epsilon => noise.alias(),
            PredictionType.VPrediction => schedule.Velocity(latents, noise, timesteps),
            PredictionType.Sample => latents.alias(),
            _ => throw NoiseScheduleOptions.Unsupported("prediction_type", "flow_prediction", "epsilon, v_prediction, sample in training"),
        };
        using var seen = perturbation is null ? noise.alias() : noise.Plus(perturbation);
        return new TrainingTarget(schedule.AddNoise(latents, seen, timesteps), target);
    }
}
