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
}
