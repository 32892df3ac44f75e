using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="Euler"/>.</summary>
internal sealed record EulerOptions : SigmaOptions
{
    /// <summary>linear, or log_linear: levels evenly spaced in their logarithm, one more than there are steps, the last of which is not reached.</summary>
    public string InterpolationType { get; init; } = "linear";

    /// <summary>Noise put back in, in all steps together; 0 for none.</summary>
    public double SChurn { get; init; }

    /// <summary>Smallest level at which noise is put back.</summary>
    public double STmin { get; init; }

    /// <summary>Largest level at which noise is put back.</summary>
    public double STmax { get; init; } = double.PositiveInfinity;

    /// <summary>Deviation of the noise put back.</summary>
    public double SNoise { get; init; } = 1;
}

/// <summary>Euler's method on the probability-flow equation, with optional churn (Karras et al. 2022, algorithm 2 without its correction).</summary>
internal sealed class Euler(NoiseSchedule schedule, EulerOptions options) : SigmaSampler(schedule, options)
{
    protected override double[] Levels(double[] timesteps)
    {
        if (options.InterpolationType == "linear") return base.Levels(timesteps);
        if (options.InterpolationType != "log_linear") throw NoiseScheduleOptions.Unsupported("interpolation_type", options.InterpolationType, "linear, log_linear");
        var logs = BetaTables.Linspace((float)Math.Log(Schedule.Sigmas[^1]), (float)Math.Log(Schedule.Sigmas[0]), timesteps.Length + 1);
        return [.. logs.Select(log => (double)(float)Math.Exp(log))];
    }

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run) => (call, x) =>
    {
        var (sigma, next, timestep) = (plan.Sigmas[call], plan.Sigmas[call + 1], plan.Timesteps[call]);
        var share = sigma >= options.STmin && sigma <= options.STmax ? Math.Min(options.SChurn / (plan.Sigmas.Count - 1), Math.Sqrt(2) - 1) : 0;
        if (share <= 0) return x.Plus((x - Denoised(run, x, sigma, timestep)).Times((next - sigma) / sigma));

        // the denoiser has seen the state before the noise, which its prediction of noise does not care about; a velocity is read at the old level
        var before = NoiseLevel.OfSigma(sigma);
        var output = run.Predict(x.Times(before.Alpha), timestep);
        var raised = sigma * (share + 1);
        x = x.Plus(run.Noise().Times(options.SNoise * Math.Sqrt(raised * raised - sigma * sigma)));
        var level = Prediction == PredictionType.Epsilon ? NoiseLevel.OfSigma(raised) : before;
        var denoised = Predictions.ToSample(Prediction, x.Times(level.Alpha), output, level.Alpha, level.Sigma);
        return x.Plus((x - denoised).Times((next - raised) / raised));
    };
}
