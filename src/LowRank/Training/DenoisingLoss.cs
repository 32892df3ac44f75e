using LowRank.Diffusion;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>What one forward pass gave. The caller owns the tensor.</summary>
/// <param name="Loss">() float32, attached to the graph: the mean over the items.</param>
/// <param name="PerItem">Each item's part, weighted as in the loss.</param>
/// <param name="Items">What the items are called, for messages: the pictures' paths.</param>
internal readonly record struct MicroBatchLoss(Tensor Loss, IReadOnlyList<float> PerItem, IReadOnlyList<string> Items)
{
    /// <summary>Each picture with its timestep and its error before any weight; for those who watch the run. Null where nothing is said of them.</summary>
    public IReadOnlyList<PictureUse>? Uses { get; init; }

    /// <summary>The teacher's part of the loss; null where there is none.</summary>
    public float? TeacherLoss { get; init; }
}

/// <summary>What some trainings give beside latents, conditioning and noise. Nothing set: the plain case. The tensors stay the caller's.</summary>
internal sealed record BatchExtras
{
    /// <summary>(B, C, h, w) float32: noise that the denoiser sees and is not asked for. Null for none.</summary>
    public Tensor? Perturbation { get; init; }

    /// <summary>
    /// (B, 1 + C, h, w) float32: what an inpainting denoiser sees behind the noisy latents, the hole (1 where it paints) and the latents of the picture
    /// without it. No noise is added to it. Null for other denoisers.
    /// </summary>
    public Tensor? Beside { get; init; }

    /// <summary>(B, 2, h, w) float32: masks by <see cref="LossMask.Area"/> and by <see cref="LossMask.Corner"/>. Null for none.</summary>
    public Tensor? Masks { get; init; }

    /// <summary>What the teacher is asked with, for B items; null: with the conditioning of the loss.</summary>
    public Conditioning? TeacherConditioning { get; init; }

    /// <summary>How much each item counts; null: all 1.</summary>
    public IReadOnlyList<float>? Weights { get; init; }
}

/// <summary>
/// The lines that matter: noise the latents, predict, compare in float32, weigh, take the mean.
/// The mean over channels, height and width comes before the weights, the item's own before that of its timestep, the mean over the items last.
/// </summary>
/// <param name="schedule">The schedule the denoiser was trained with.</param>
/// <param name="type">What the denoiser predicts.</param>
/// <param name="weighting">Weight of each item by its signal-to-noise ratio.</param>
/// <param name="predict">
/// The denoiser (<see cref="IDiffusionFamily.Predict"/>): noisy latents (B, C, h, w) float32 with what stands beside them, timesteps (B) float32 and
/// conditioning to a prediction (B, C, h, w) of any float dtype.
/// </param>
internal sealed class DenoisingLoss(
    NoiseSchedule schedule, PredictionType type, LossWeighting weighting, Func<Tensor, Tensor, Conditioning, Tensor> predict)
{
    /// <summary>
    /// Whose signal-to-noise ratios the weights use: the schedule's own, unless set. kohya's trainers take those of the schedule before
    /// its rescaling to zero terminal SNR.
    /// </summary>
    public NoiseSchedule? WeightSchedule { get; init; }

    /// <summary>The loss of an element.</summary>
    public ElementLoss Error { get; init; } = ElementLoss.Squared;

    /// <summary>What masks do.</summary>
    public MaskRule Masking { get; init; } = new(UnmaskedWeight: 0, NormalizeArea: false, Temperature: 0);

    /// <summary>Adds a term to every item, which no other weight changes; null for none.</summary>
    public Teacher? Teacher { get; init; }

    /// <summary>The loss of one micro-batch.</summary>
    /// <param name="latents">(B, C, h, w) float32, scaled, on the denoiser's device.</param>
    /// <param name="conditioning">For B items, on the denoiser's device.</param>
    /// <param name="noise">(B, C, h, w) float32, any offset already in it; moved to the device of the latents.</param>
    /// <param name="timesteps">B timesteps, 0…T − 1.</param>
    /// <param name="items">What the items are called.</param>
    /// <param name="extras">What else this training asks for; null for nothing.</param>
    public MicroBatchLoss Of(Tensor latents, Conditioning conditioning, Tensor noise, ReadOnlySpan<long> timesteps, IReadOnlyList<string> items, BatchExtras? extras = null)
    {
        using var scope = NewDisposeScope();
        var (noisy, target) = TrainingTarget.Of(schedule, type, latents, noise.to(latents.device), timesteps, extras?.Perturbation?.to(latents.device));
        var weights = new float[timesteps.Length];
        for (var item = 0; item < weights.Length; item++) weights[item] = weighting.Weight((WeightSchedule ?? schedule).Snr(timesteps[item]), type);
        var seen = extras?.Beside is { } beside ? cat([noisy, beside.to(latents.device)], 1) : noisy;
        var at = tensor(timesteps.ToArray(), ScalarType.Float32, latents.device);
        var prediction = predict(seen, at, conditioning).to(ScalarType.Float32);
        var elements = Elements(prediction, target, timesteps, extras?.Masks?.to(latents.device));
        var errors = elements.mean([1, 2, 3]);   // (B)
        var own = extras?.Weights is { } given ? errors * tensor(given.ToArray(), device: latents.device) : errors;
        var weighted = own * tensor(weights, device: latents.device);
        var taught = Teacher?.Terms(predict, seen, at, extras?.TeacherConditioning ?? conditioning, extras?.TeacherConditioning is null ? prediction : null);   // (B)
        if (taught is not null) weighted = weighted.Plus(taught);
        var values = stack([weighted.detach(), errors.detach()]).cpu().data<float>().ToArray();   // (2, B): one wait for the device
        var uses = new PictureUse[weights.Length];
        for (var item = 0; item < uses.Length; item++) uses[item] = new PictureUse(items[item], timesteps[item], values[weights.Length + item]);
        return new MicroBatchLoss(weighted.mean().MoveToOuterDisposeScope(), values[..weights.Length], items) { Uses = uses, TeacherLoss = taught?.detach().mean().item<float>() };
    }

    private Tensor Elements(Tensor prediction, Tensor target, ReadOnlySpan<long> timesteps, Tensor? masks)
    {
        if (masks is null) return Error.Of(prediction, target, schedule, timesteps);
        if (Masking.Temperature > 0)
        {
            var factors = LossMask.Factors(masks[.., 1..2], Masking.Temperature);
            return Error.Of(prediction * factors, target * factors, schedule, timesteps);
        }
        return Error.Of(prediction, target, schedule, timesteps) * LossMask.Weights(masks[.., ..1], Masking.UnmaskedWeight, Masking.NormalizeArea);
    }
}

/// <summary>What masks do with the loss.</summary>
/// <param name="UnmaskedWeight">What counts where the mask is black.</param>
/// <param name="NormalizeArea">Whether every picture counts alike, however small its mask is.</param>
/// <param name="Temperature">Above 0: the 2022 package's rule with this exponent, in place of the two before.</param>
internal readonly record struct MaskRule(double UnmaskedWeight, bool NormalizeArea, double Temperature);
