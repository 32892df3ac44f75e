using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="Lcm"/>.</summary>
internal sealed record LcmOptions : ClipOptions
{
    public LcmOptions() => ClipSample = false;

    /// <summary>Steps of the grid the model was distilled on.</summary>
    public int OriginalInferenceSteps { get; init; } = 50;

    /// <summary>How fast the skip connection closes with the timestep.</summary>
    public double TimestepScaling { get; init; } = 10;
}

/// <summary>Latent consistency models (Luo et al. 2023, algorithm 3): a clean picture each step, noised again to the next timestep.</summary>
internal sealed class Lcm(NoiseSchedule schedule, LcmOptions options) : AlphaBarSampler(schedule)
{
    private const double DataDeviation = 0.5;

    public override SamplingPlan Plan(int steps) => Plan(steps, Grid(Schedule.Timesteps, options.OriginalInferenceSteps, steps));

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run) => (call, x) =>
    {
        var timestep = plan.Timesteps[call];
        var scaled = timestep * options.TimestepScaling;
        var sum = scaled * scaled + DataDeviation * DataDeviation;
        var sample = options.Clip(Split(run, x, timestep).Sample);
        var denoised = sample.Times(scaled / Math.Sqrt(sum)).Plus(x.Times(DataDeviation * DataDeviation / sum));
        if (call + 1 == plan.Timesteps.Count) return denoised;
        var next = NoiseLevel.OfAlphaBar(AlphaBar(plan.Timesteps[call + 1]));
        return denoised.Times(next.Alpha).Plus(run.Noise().Times(next.Sigma));
    };

    /// <summary>Steps picked evenly from the distillation grid, largest first.</summary>
    internal static double[] Grid(int total, int original, int steps)
    {
        if (steps > original)
        {
            throw new OptionsException(string.Create(CultureInfo.InvariantCulture, $"{steps} steps are more than the {original} this kind of model was distilled on (original_inference_steps); use fewer steps."));
        }
        var grid = Enumerable.Range(1, original).Select(point => (double)(point * (total / original) - 1)).Reverse().ToArray();
        return [.. Enumerable.Range(0, steps).Select(step => grid[(int)Math.Floor(step * ((double)original / steps))])];
    }
}
