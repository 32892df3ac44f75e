using LowRank.Diffusion;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>One held-out picture as the denoiser is asked about it. The tensors stay the caller's.</summary>
/// <param name="Latents">(1, C, h, w) float32, scaled.</param>
/// <param name="Conditioning">For one picture.</param>
/// <param name="Noise">Like <paramref name="Latents"/>: the same in every measure.</param>
/// <param name="Beside">(1, 1 + C, h, w) float32, as <see cref="BatchExtras.Beside"/>; null for none.</param>
internal sealed record HeldOutPicture(Tensor Latents, Conditioning Conditioning, Tensor Noise, Tensor? Beside = null);

/// <summary>
/// How far off a denoiser is on pictures it was not trained on: the squared error at fixed timesteps with fixed noise, without any weight or option of
/// the training, so that it means the same in every run. Each picture is asked about by itself: its numbers depend on no other one.
/// </summary>
/// <param name="schedule">The model's own.</param>
/// <param name="type">What the denoiser predicts.</param>
/// <param name="predict">As for <see cref="DenoisingLoss"/>.</param>
/// <param name="timesteps">0…T − 1, at least one.</param>
internal sealed class HeldOutLoss(NoiseSchedule schedule, PredictionType type, Func<Tensor, Tensor, Conditioning, Tensor> predict, IReadOnlyList<long> timesteps)
{
    private const int AtOnce = 8;   // timesteps in one forward pass: bounds the memory, and is no option since rounding may depend on it
    private readonly DenoisingLoss loss = new(schedule, type, LossWeighting.None, predict);

    /// <summary>The mean squared error of the prediction at each timestep, in their order.</summary>
    public IReadOnlyList<float> Of(HeldOutPicture picture)
    {
        using var quiet = no_grad();
        var errors = new List<float>();
        foreach (var part in timesteps.Chunk(AtOnce))
        {
            using var scope = NewDisposeScope();
            using var conditioning = picture.Conditioning.Repeat(part.Length);
            var extras = new BatchExtras { Beside = picture.Beside?.repeat(part.Length, 1, 1, 1) };
            var scored = loss.Of(picture.Latents.repeat(part.Length, 1, 1, 1), conditioning, picture.Noise.repeat(part.Length, 1, 1, 1), part, [.. part.Select(_ => "held out")], extras);
            errors.AddRange(scored.PerItem);
        }
        return errors;
    }
}
