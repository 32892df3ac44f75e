using System.Globalization;

namespace LowRank.Diffusion;

/// <summary>
/// Weights of each item's loss by the signal-to-noise ratio of its timestep. Parts that are set are applied one after the other,
/// in the order of the properties; nothing set weighs every item 1. Where the ratio is 0 (last timestep with zero terminal SNR)
/// the noise forms divide by it and give NaN or infinity, as they do in the trainers they come from.
/// </summary>
internal sealed record LossWeighting
{
    /// <summary>The trainers cap the ratio here where they would otherwise weigh clean timesteps without bound.</summary>
    private const float LargestSnr = 1000;

    /// <summary>Every item alike.</summary>
    public static LossWeighting None { get; } = new();

    /// <summary>Min-SNR: min(snr, gamma) on the loss of the clean latents (Hang et al. 2023); 5 is usual. Null for none.</summary>
    public double? MinSnrGamma { get; init; }

    /// <summary>For v prediction, min(snr, gamma)/snr + 1 in place of min(snr, gamma)/(snr + 1): the rule of diffusers' DreamBooth examples.</summary>
    public bool MinSnrPlusOneForV { get; init; }

    /// <summary>Soft min-SNR: snr·gamma/(snr + gamma) on the loss of the clean latents (Crowson et al. 2024). Null for none.</summary>
    public double? SoftMinSnrGamma { get; init; }

    /// <summary>min(snr + 1, gamma)/(snr + 1) on the loss of v: as min-SNR for nearly clean timesteps, and 1 for noisy ones. Null for none; v prediction only.</summary>
    public double? VSnrGamma { get; init; }

    /// <summary>P2: 1/(k + snr)^gamma on the loss of the noise (Choi et al. 2022). Null for none; noise prediction only.</summary>
    public double? P2Gamma { get; init; }

    /// <summary>k of P2.</summary>
    public double P2K { get; init; } = 1;

    /// <summary>Scales a v loss to the size of a noise loss: c/(c + 1) with c = min(snr, 1000).</summary>
    public bool ScaleVLikeNoise { get; init; }

    /// <summary>Adds the loss divided by <see cref="ScaleVLikeNoise"/>'s factor, with this weight; 0 for none.</summary>
    public double VPredictionLikeLoss { get; init; }

    /// <summary>Debiased estimation: 1/√c for noise, 1/(c + 1) for v, c = min(snr, 1000) (Yu et al. 2023).</summary>
    public bool DebiasedEstimation { get; init; }

    /// <summary>What cannot be honoured for this prediction type, each as <c>key: what is wrong</c>; empty when all is well.</summary>
    public IEnumerable<string> Problems(PredictionType type)
    {
        if (MinSnrGamma is <= 0) yield return Positive("min_snr_gamma", MinSnrGamma.Value);
        if (SoftMinSnrGamma is <= 0) yield return Positive("soft_min_snr_gamma", SoftMinSnrGamma.Value);
        if (MinSnrPlusOneForV && type != PredictionType.VPrediction) yield return Only("min_snr_plus_one_for_v", "v prediction");
        if (VSnrGamma is not null && type != PredictionType.VPrediction) yield return Only("v_snr_gamma", "v prediction");
        if (P2Gamma is not null && type != PredictionType.Epsilon) yield return Only("p2_gamma", "noise prediction");
        if (ScaleVLikeNoise && type != PredictionType.VPrediction) yield return Only("scale_v_pred_loss_like_noise_pred", "v prediction");
        if (DebiasedEstimation && type is not (PredictionType.Epsilon or PredictionType.VPrediction)) yield return Only("debiased_estimation", "noise and v prediction");
    }

    /// <summary>The weight of an item.</summary>
    /// <param name="snr">Signal-to-noise ratio of its timestep (<see cref="NoiseSchedule.Snr"/>).</param>
    /// <param name="type">What the denoiser predicts; <see cref="Problems"/> says what goes with it.</param>
    public float Weight(float snr, PredictionType type)
    {
        var weight = 1f;
        if (MinSnrGamma is { } gamma)
        {
            var least = MathF.Min(snr, (float)gamma);
            weight *= MinSnrPlusOneForV ? least / snr + 1 : least / LatentsLoss(snr, type);
        }
        if (SoftMinSnrGamma is { } soft)
        {
            weight *= type == PredictionType.Epsilon ? (float)soft / (snr + (float)soft) : snr * (float)soft / (snr + (float)soft) / LatentsLoss(snr, type);
        }
        if (VSnrGamma is { } most) weight *= MathF.Min(snr + 1, (float)most) / (snr + 1);
        if (P2Gamma is { } power) weight *= 1 / MathF.Pow((float)P2K + snr, (float)power);
        var capped = MathF.Min(snr, LargestSnr);
        if (ScaleVLikeNoise) weight *= capped / (capped + 1);
        if (VPredictionLikeLoss != 0) weight += weight / (capped / (capped + 1)) * (float)VPredictionLikeLoss;
        if (DebiasedEstimation) weight *= type == PredictionType.VPrediction ? 1 / (capped + 1) : 1 / MathF.Sqrt(capped);
        return weight;
    }

    /// <summary>How many times larger the loss of a prediction is than that of the clean latents it implies.</summary>
    private static float LatentsLoss(float snr, PredictionType type) => type switch
    {
        PredictionType.Epsilon => snr,
        PredictionType.VPrediction => snr + 1,
        PredictionType.Sample => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "loss weights are made for noise, v and sample prediction"),
    };

    private static string Positive(string key, double value) => string.Create(CultureInfo.InvariantCulture, $"{key}: {value}; must be above 0");

    private static string Only(string key, string types) => $"{key}: made for {types}, which this model does not use; leave it out";
}
