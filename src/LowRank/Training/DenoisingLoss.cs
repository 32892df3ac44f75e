using LowRank.Diffusion;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>What one forward pass gave. The caller owns the tensor.</summary>
/// <param name="Loss">() float32, attached to the graph: the mean over the items.</param>
/// <param name="PerItem">Each item's part, weighted as in the loss.</param>
/// <param name="Items">What the items are called, for messages: the pictures' paths.</param>
internal readonly record struct MicroBatchLoss(Tensor Loss, IReadOnlyList<float> PerItem, IReadOnlyList<string> Items);

/// <summary>
/// The lines that matter: noise the latents, predict, compare in float32, weigh, take the mean.
/// The mean over channels, height and width comes before the weight, the mean over the items last.
/// </summary>
/// <param name="schedule">The schedule the denoiser was trained with.</param>
/// <param name="type">What the denoiser predicts.</param>
/// <param name="weighting">Weight of each item by its signal-to-noise ratio.</param>
/// <param name="predict">
/// The denoiser (<see cref="IDiffusionFamily.Predict"/>): noisy latents (B, C, h, w) float32, timesteps (B) float32 and conditioning to
/// a prediction (B, C, h, w) of any float dtype.
/// </param>
internal sealed class DenoisingLoss(
    NoiseSchedule schedule, PredictionType type, LossWeighting weighting, Func<Tensor, Tensor, Conditioning, Tensor> predict)
{
    /// <summary>
    /// Whose signal-to-noise ratios the weights use: the schedule's own, unless set. kohya's trainers take those of the schedule before
    /// its rescaling to zero terminal SNR.
    /// </summary>
    public NoiseSchedule? WeightSchedule { get; init; }

    /// <summary>The loss of one micro-batch.</summary>
    /// <param name="latents">(B, C, h, w) float32, scaled, on the denoiser's device.</param>
    /// <param name="conditioning">For B items, on the denoiser's device.</param>
    /// <param name="noise">(B, C, h, w) float32, any offset already in it; moved to the device of the latents.</param>
    /// <param name="timesteps">B timesteps, 0…T − 1.</param>
    /// <param name="items">What the items are called.</param>
    public MicroBatchLoss Of(Tensor latents, Conditioning conditioning, Tensor noise, ReadOnlySpan<long> timesteps, IReadOnlyList<string> items)
    {
        using var scope = NewDisposeScope();
        var (noisy, target) = TrainingTarget.Of(schedule, type, latents, noise.to(latents.device), timesteps);
        var weights = new float[timesteps.Length];
        for (var item = 0; item < weights.Length; item++) weights[item] = weighting.Weight((WeightSchedule ?? schedule).Snr(timesteps[item]), type);
        var prediction = predict(noisy, tensor(timesteps.ToArray(), ScalarType.Float32, latents.device), conditioning).to(ScalarType.Float32);
        var errors = nn.functional.mse_loss(prediction, target, nn.Reduction.None).mean([1, 2, 3]);   // (B)
        var weighted = errors * tensor(weights, device: latents.device);
        var perItem = weighted.detach().cpu().data<float>().ToArray();
        return new MicroBatchLoss(weighted.mean().MoveToOuterDisposeScope(), perItem, items);
    }
}
