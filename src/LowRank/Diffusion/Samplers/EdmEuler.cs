using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="EdmEuler"/>; names and values are those of <c>scheduler_config.json</c>.</summary>
internal sealed record EdmEulerOptions
{
    /// <summary>Smallest level.</summary>
    public double SigmaMin { get; init; } = 0.002;

    /// <summary>Largest level.</summary>
    public double SigmaMax { get; init; } = 80;

    /// <summary>Deviation of the latents that the denoiser was trained on.</summary>
    public double SigmaData { get; init; } = 0.5;

    /// <summary>karras, or exponential.</summary>
    public string SigmaSchedule { get; init; } = "karras";

    /// <summary>Curvature of the Karras levels.</summary>
    public double Rho { get; init; } = 7;

    /// <summary>Where the last step ends: zero, or sigma_min (the last level again).</summary>
    public string FinalSigmasType { get; init; } = "zero";

    /// <summary>Noise put back in, in all steps together; 0 for none.</summary>
    public double SChurn { get; init; }

    /// <summary>Smallest level at which noise is put back.</summary>
    public double STmin { get; init; }

    /// <summary>Largest level at which noise is put back.</summary>
    public double STmax { get; init; } = double.PositiveInfinity;

    /// <summary>Deviation of the noise put back.</summary>
    public double SNoise { get; init; } = 1;
}

/// <summary>
/// Euler's method for denoisers that were trained with the preconditioning of Karras et al. 2022 (EDM, arXiv 2206.00364, table 1): state latents + sigma·noise,
/// input divided by √(sigma² + sigma_data²), time ¼ ln sigma. The schedule says only what the denoiser predicts.
/// </summary>
internal sealed class EdmEuler(NoiseSchedule schedule, EdmEulerOptions options) : Sampler(schedule)
{
    public override SamplingPlan Plan(int steps)
    {
        double[] levels = options.SigmaSchedule switch
        {
            "karras" => SigmaCurve.Karras(options.SigmaMin, options.SigmaMax, steps, options.Rho),
            "exponential" => [.. BetaTables.Linspace((float)Math.Log(options.SigmaMin), (float)Math.Log(options.SigmaMax), steps).Select(log => Math.Exp(log)).Reverse()],
            var other => throw NoiseScheduleOptions.Unsupported("sigma_schedule", other, "karras, exponential"),
        };
        var last = options.FinalSigmasType switch
        {
            "zero" => 0,
            "sigma_min" => levels[^1],
            var other => throw NoiseScheduleOptions.Unsupported("final_sigmas_type", other, "zero, sigma_min"),
        };
        double[] sigmas = [.. levels.Append(last).Select(sigma => (double)(float)sigma)];
        return new SamplingPlan
        {
            Steps = steps,
            Timesteps = [.. sigmas.SkipLast(1).Select(sigma => 0.25 * Math.Log(sigma))],
            Sigmas = sigmas,
            Levels = [.. sigmas.Select(sigma => new NoiseLevel(1, sigma))],
            InputFactors = [.. sigmas.SkipLast(1).Select(sigma => 1 / Deviation(sigma))],
            InitialScale = Math.Sqrt(options.SigmaMax * options.SigmaMax + 1),
        };
    }

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run) => (call, x) =>
    {
        var (sigma, next) = (plan.Sigmas[call], plan.Sigmas[call + 1]);
        var output = run.Predict(x.Times(plan.InputFactors[call]), plan.Timesteps[call]);
        var share = sigma >= options.STmin && sigma <= options.STmax ? Math.Min(options.SChurn / (plan.Sigmas.Count - 1), Math.Sqrt(2) - 1) : 0;
        var raised = sigma * (share + 1);
        if (share > 0) x = x.Plus(run.Noise().Times(options.SNoise * Math.Sqrt(raised * raised - sigma * sigma)));
        var (data, deviation) = (options.SigmaData, Deviation(raised));
        var sign = Prediction == PredictionType.VPrediction ? -1 : 1;
        var denoised = x.Times(data * data / (deviation * deviation)).Plus(output.Times(sign * raised * data / deviation));
        return x.Plus((x - denoised).Times((next - raised) / raised));
    };

    private double Deviation(double sigma) => Math.Sqrt(sigma * sigma + options.SigmaData * options.SigmaData);
}
