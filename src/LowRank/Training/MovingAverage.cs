using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>How fast a moving average forgets. The rules of diffusers' <c>EMAModel</c>, and the plain one.</summary>
/// <param name="Decay">Share of the average that stays at an update, once warmed up.</param>
/// <param name="Warmup">How that share grows to <paramref name="Decay"/>.</param>
/// <param name="InverseGamma">With <see cref="AverageWarmup.Power"/>: steps are divided by it.</param>
/// <param name="Power">With <see cref="AverageWarmup.Power"/>: the exponent.</param>
/// <param name="MinDecay">Smallest share once the average is on.</param>
/// <param name="AfterStep">Until this update the average is a copy.</param>
internal sealed record MovingAverageRule(
    double Decay, AverageWarmup Warmup = AverageWarmup.Ratio, double InverseGamma = 1, double Power = 2.0 / 3, double MinDecay = 0, long AfterStep = 0)
{
    /// <summary>The share that stays at update number <paramref name="update"/>, counted from 1.</summary>
    public double DecayAt(long update)
    {
        if (Warmup == AverageWarmup.None) return update > AfterStep ? Decay : 0;
        var step = update - AfterStep - 1;
        if (step <= 0) return 0;
        var warm = Warmup == AverageWarmup.Power ? 1 - Math.Pow(1 + step / InverseGamma, -Power) : (1.0 + step) / (10 + step);
        return Math.Max(Math.Min(warm, Decay), MinDecay);
    }
}

/// <summary>
/// An exponential moving average of the trained parameters (Polyak and Juditsky 1992): calmer than the parameters themselves.
/// Begins where they are. Owns its tensor.
/// </summary>
internal sealed class MovingAverage : IDisposable
{
    private readonly TrainedParameters parameters;
    private readonly MovingAverageRule rule;

    public MovingAverage(TrainedParameters parameters, MovingAverageRule rule)
    {
        (this.parameters, this.rule) = (parameters, rule);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        Values = parameters.Values.detach().clone().DetachFromDisposeScope();
    }

    /// <summary>(N) float32, laid out as <see cref="TrainedParameters.Values"/>.</summary>
    public Tensor Values { get; }

    /// <summary>Takes in the parameters as they are after update number <paramref name="update"/>, counted from 1.</summary>
    public void Update(long update)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        Values.lerp_(parameters.Values, 1 - rule.DecayAt(update));
    }

    /// <inheritdoc/>
    public void Dispose() => Values.Dispose();
}

/// <summary>How the share of a moving average that stays grows over the first updates.</summary>
public enum AverageWarmup
{
    /// <summary>(1 + n) / (10 + n): diffusers' and TensorFlow's usual rule.</summary>
    Ratio,
    /// <summary>1 − (1 + n / inverse gamma)^−power: diffusers' <c>use_ema_warmup</c>.</summary>
    Power,
    /// <summary>None: the full share from the first update on. The start then stays in the average for about 1 / (1 − decay) updates.</summary>
    None,
}
