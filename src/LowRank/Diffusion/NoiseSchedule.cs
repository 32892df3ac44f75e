using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>
/// How noise grows over the timesteps: noisy = √ᾱ(t)·latents + √(1−ᾱ(t))·noise (Ho et al. 2020, eq. 4).
/// Tables are float32, made with the rounding steps of the library whose models people have, so that betas and ᾱ are the same bits.
/// Immutable; holds no tensors.
/// </summary>
public sealed class NoiseSchedule
{
    /// <summary>What samplers in sigma space put in place of ᾱ = 0, whose sigma would be infinite: 2⁻²⁴, sigma 4096.</summary>
    private const float SmallestAlphaBar = 1f / (1 << 24);

    private readonly float[] betas;
    private readonly float[] alphasCumprod;
    private readonly float[] sigmas;
    private readonly double[] logSigmas;

    /// <summary>Computes the tables.</summary>
    /// <exception cref="OptionsException">A value that is not supported or not possible.</exception>
    internal NoiseSchedule(NoiseScheduleOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Options = options;
        PredictionType = Predictions.Parse(options.PredictionType);
        betas = BetaTables.For(options);
        alphasCumprod = BetaTables.CumulativeAlphas(betas);
        sigmas = new float[betas.Length];
        logSigmas = new double[betas.Length];
        for (var t = 0; t < sigmas.Length; t++)
        {
            var bar = alphasCumprod[t];
            if (options.RescaleBetasZeroSnr && t == sigmas.Length - 1) bar = SmallestAlphaBar;
            sigmas[t] = MathF.Sqrt((1f - bar) / bar);
            logSigmas[t] = (float)Math.Log(sigmas[t]);   // rounded to float32 as the published tables are
        }
    }

    /// <summary>What the tables were made from.</summary>
    internal NoiseScheduleOptions Options { get; }

    /// <summary>What the denoiser trained with this schedule predicts.</summary>
    public PredictionType PredictionType { get; }

    /// <summary>Number of timesteps T; timesteps run from 0 to T − 1.</summary>
    public int Timesteps => betas.Length;

    /// <summary>Noise variance added at each timestep, float32.</summary>
    internal ReadOnlySpan<float> Betas => betas;

    /// <summary>ᾱ of each timestep, float32, falling; ends at exactly 0 with zero terminal SNR.</summary>
    public ReadOnlySpan<float> AlphasCumprod => alphasCumprod;

    /// <summary>√((1−ᾱ)/ᾱ) of each timestep, float32, rising; ends at 4096 with zero terminal SNR.</summary>
    internal ReadOnlySpan<float> Sigmas => sigmas;

    /// <summary>Signal-to-noise ratio ᾱ/(1−ᾱ) of a timestep, from float32 roots; 0 at the last timestep with zero terminal SNR.</summary>
    public float Snr(long timestep)
    {
        var bar = alphasCumprod[Index(timestep)];
        var ratio = MathF.Sqrt(bar) / MathF.Sqrt(1f - bar);
        return ratio * ratio;
    }

    /// <summary>Sigma at a timestep that may be fractional: linear in sigma between table entries, clamped to the table.</summary>
    internal double SigmaOfTimestep(double timestep)
    {
        if (timestep <= 0) return sigmas[0];
        if (timestep >= sigmas.Length - 1) return sigmas[^1];
        var low = (int)timestep;
        return sigmas[low] + (timestep - low) * ((double)sigmas[low + 1] - sigmas[low]);
    }

    /// <summary>The (fractional) timestep of a sigma: linear in log sigma between table entries, clamped to [0, T − 1].</summary>
    internal double TimestepOfSigma(double sigma)
    {
        var log = Math.Log(Math.Max(sigma, 1e-10));
        var low = 0;
        for (var t = 1; t < logSigmas.Length - 1 && logSigmas[t] <= log; t++) low = t;
        var weight = Math.Clamp((logSigmas[low] - log) / (logSigmas[low] - logSigmas[low + 1]), 0, 1);
        return (1 - weight) * low + weight * (low + 1);
    }

    /// <summary>Noisy latents √ᾱ·latents + √(1−ᾱ)·noise. The table is cast to the latents' dtype before its roots are taken; use float32 in training.</summary>
    /// <param name="latents">Scaled latents (B, …), any float dtype and device.</param>
    /// <param name="noise">Like <paramref name="latents"/>.</param>
    /// <param name="timesteps">B timesteps, 0…T − 1.</param>
    public Tensor AddNoise(Tensor latents, Tensor noise, ReadOnlySpan<long> timesteps)
    {
        using var scope = NewDisposeScope();
        var (alpha, sigma) = Roots(latents, timesteps);
        return (alpha * latents).Plus(sigma * noise).MoveToOuterDisposeScope();
    }

    /// <summary>The velocity √ᾱ·noise − √(1−ᾱ)·latents that a v-predicting denoiser learns; parameters as in <see cref="AddNoise"/>.</summary>
    public Tensor Velocity(Tensor latents, Tensor noise, ReadOnlySpan<long> timesteps)
    {
        using var scope = NewDisposeScope();
        var (alpha, sigma) = Roots(latents, timesteps);
        return (alpha * noise - sigma * latents).MoveToOuterDisposeScope();
    }

    /// <summary>√ᾱ and √(1−ᾱ), each (B, 1, …) in the latents' dtype.</summary>
    private (Tensor Alpha, Tensor Sigma) Roots(Tensor latents, ReadOnlySpan<long> timesteps)
    {
        if (timesteps.Length != latents.shape[0])
        {
            throw new ArgumentException(string.Create(CultureInfo.InvariantCulture,
                $"{timesteps.Length} timesteps for {latents.shape[0]} latents; give one for each"), nameof(timesteps));
        }
        var values = new float[timesteps.Length];
        for (var i = 0; i < values.Length; i++) values[i] = alphasCumprod[Index(timesteps[i])];
        var shape = new long[latents.dim()];
        Array.Fill(shape, 1);
        shape[0] = values.Length;
        var bar = tensor(values, shape).to(latents.dtype).to(latents.device);   // (B, 1, …)
        return (bar.sqrt(), bar.SubtractedFrom(1).sqrt());
    }

    private int Index(long timestep) => timestep >= 0 && timestep < betas.Length
        ? (int)timestep
        : throw new ArgumentOutOfRangeException(nameof(timestep), timestep, string.Create(CultureInfo.InvariantCulture, $"timesteps run from 0 to {betas.Length - 1}"));
}
