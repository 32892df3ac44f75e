using LowRank.Diffusion;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// The loss of single elements. The thresholds, and the two forms with a root, are those of kohya-ss/sd-scripts (library/train_util.py,
/// <c>get_huber_threshold_if_needed</c>, <c>conditional_loss</c>); torch means other functions by the same names.
/// </summary>
/// <param name="Type">Which function.</param>
/// <param name="Schedule">How the threshold changes with the timestep.</param>
/// <param name="C">The threshold.</param>
/// <param name="Scale">Factor on it, where the schedule is not by signal-to-noise ratio.</param>
internal sealed record ElementLoss(LossType Type, HuberSchedule Schedule, double C, double Scale)
{
    /// <summary>The squared difference.</summary>
    public static ElementLoss Squared { get; } = new(LossType.L2, HuberSchedule.Constant, 1, 1);

    /// <summary>The loss of every element, attached to the graph of the prediction. The caller owns it.</summary>
    /// <param name="prediction">(B, C, h, w) float32.</param>
    /// <param name="target">Like <paramref name="prediction"/>.</param>
    /// <param name="noise">The schedule that is trained with.</param>
    /// <param name="timesteps">B timesteps.</param>
    public Tensor Of(Tensor prediction, Tensor target, NoiseSchedule noise, ReadOnlySpan<long> timesteps)
    {
        using var scope = NewDisposeScope();
        var losses = Type switch
        {
            LossType.L2 => nn.functional.mse_loss(prediction, target, nn.Reduction.None),
            LossType.L1 => nn.functional.l1_loss(prediction, target, nn.Reduction.None),
            LossType.Huber => Rooted(prediction - target, noise, timesteps, scaled: true),
            LossType.SmoothL1 => Rooted(prediction - target, noise, timesteps, scaled: false),
            LossType.LogCosh => LogCosh(prediction - target),
            _ => throw new InvalidOperationException($"no such loss: {Type}"),
        };
        return losses.MoveToOuterDisposeScope();
    }

    /// <summary>The threshold at a timestep.</summary>
    public float Threshold(NoiseSchedule noise, long timestep)
    {
        if (Schedule == HuberSchedule.Constant) return (float)(C * Scale);
        if (Schedule == HuberSchedule.Exponential) return (float)(Math.Exp(Math.Log(C) / noise.Timesteps * timestep) * Scale);
        var bar = noise.AlphasCumprod[(int)timestep];
        var sigma = Math.Sqrt((1.0 - bar) / bar);   // infinite where there is no signal: the threshold is then c
        return (float)((1 - C) / ((1 + sigma) * (1 + sigma)) + C);
    }

    private Tensor Rooted(Tensor difference, NoiseSchedule noise, ReadOnlySpan<long> timesteps, bool scaled)
    {
        var thresholds = new float[timesteps.Length];
        for (var item = 0; item < thresholds.Length; item++) thresholds[item] = Threshold(noise, timesteps[item]);
        var c = tensor(thresholds, [thresholds.Length, 1, 1, 1], device: difference.device);   // (B, 1, 1, 1)
        var rooted = (difference.Squared().Plus(c.Squared()).sqrt() - c).Times(2);
        return scaled ? rooted * c : rooted;
    }

    /// <summary>d + log(1 + e^(−2d)) − log 2, which does not overflow.</summary>
    private static Tensor LogCosh(Tensor difference) => difference.Plus(difference.Times(-2).logaddexp(zeros_like(difference))).Minus(Math.Log(2));
}
