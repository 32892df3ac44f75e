using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Where a sampler calls the denoiser on its way from noise to a picture, and how noisy its latents are there.</summary>
internal sealed record SamplingPlan
{
    /// <summary>What the denoiser is told at each call, noisiest first; fractional in some samplers.</summary>
    public required IReadOnlyList<double> Timesteps { get; init; }

    /// <summary>State before each call as Alpha·latents + Sigma·noise.</summary>
    public required IReadOnlyList<NoiseLevel> Levels { get; init; }

    /// <summary>Noise levels as √((1−ᾱ)/ᾱ), one for each call and one to end at, for samplers that work in them; else empty.</summary>
    public IReadOnlyList<double> Sigmas { get; init; } = [];

    /// <summary>What the state is multiplied with before the denoiser sees it, one for each call, where that is not 1/√(1 + sigma²) of its level; else empty.</summary>
    public IReadOnlyList<double> InputFactors { get; init; } = [];

    /// <summary>What unit noise is multiplied by to start from the first call.</summary>
    public double InitialScale { get; init; } = 1;

    /// <summary>Calls that one step makes, the last step aside: 2 in Heun and its like.</summary>
    public int CallsPerStep { get; init; } = 1;

    /// <summary>Steps asked for.</summary>
    public required int Steps { get; init; }

    /// <summary>The call to begin with when only a share of the way is gone, from a noised picture: the first Steps − ⌊Steps·strength⌋ steps are left out.</summary>
    /// <param name="strength">0 to 1; the product is taken in float64 and cut, so 50 steps at 0.58 keep 28.</param>
    public int FirstCall(double strength) => Math.Max(Steps - Math.Min((int)(Steps * strength), Steps), 0) * CallsPerStep;

    /// <summary>The state before a call that has these latents in it.</summary>
    /// <param name="latents">Scaled latents (B, C, h, w).</param>
    /// <param name="noise">Unit noise, alike.</param>
    /// <param name="call">0 to the number of calls − 1.</param>
    public Tensor Noised(Tensor latents, Tensor noise, int call)
    {
        using var scope = NewDisposeScope();
        return latents.Times(Levels[call].Alpha).Plus(noise.Times(Levels[call].Sigma)).MoveToOuterDisposeScope();
    }
}

/// <summary>A state Alpha·latents + Sigma·noise.</summary>
internal readonly record struct NoiseLevel(double Alpha, double Sigma)
{
    /// <summary>Of the variance-preserving state at noise level √((1−ᾱ)/ᾱ).</summary>
    public static NoiseLevel OfSigma(double sigma)
    {
        var alpha = 1 / Math.Sqrt(sigma * sigma + 1);
        return new(alpha, sigma * alpha);
    }

    /// <summary>Of the variance-preserving state at ᾱ.</summary>
    public static NoiseLevel OfAlphaBar(double bar) => new(Math.Sqrt(bar), Math.Sqrt(1 - bar));

    /// <summary>log(Alpha / Sigma); infinite without noise.</summary>
    public double LogSnr => Sigma > 0 ? Math.Log(Alpha / Sigma) : double.PositiveInfinity;
}
