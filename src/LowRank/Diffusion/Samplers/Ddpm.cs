using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="Ddpm"/>.</summary>
internal sealed record DdpmOptions : ClipOptions
{
    /// <summary>linspace, leading or trailing.</summary>
    public string TimestepSpacing { get; init; } = "leading";

    /// <summary>Added to every timestep of leading spacing.</summary>
    public int StepsOffset { get; init; }

    /// <summary>fixed_small (of the posterior) or fixed_large (of the forward step).</summary>
    public string VarianceType { get; init; } = "fixed_small";
}

/// <summary>Ancestral sampling of denoising diffusion models (Ho et al. 2020, eq. 7), between the timesteps of the grid.</summary>
internal sealed class Ddpm(NoiseSchedule schedule, DdpmOptions options) : AlphaBarSampler(schedule)
{
    public override SamplingPlan Plan(int steps) => Plan(steps, TimeGrid.Spread(options.TimestepSpacing, Schedule.Timesteps, steps, options.StepsOffset));

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run) => (call, x) =>
    {
        var timestep = plan.Timesteps[call];
        var bar = AlphaBar(timestep);
        var next = call + 1 < plan.Timesteps.Count ? AlphaBar(plan.Timesteps[call + 1]) : 1;
        var beta = 1 - bar / next;
        var sample = options.Clip(Split(run, x, timestep).Sample);
        var mean = sample.Times(Math.Sqrt(next) * beta / (1 - bar)).Plus(x.Times(Math.Sqrt(bar / next) * (1 - next) / (1 - bar)));
        return timestep > 0 ? mean.Plus(run.Noise().Times(Math.Sqrt(Variance(bar, next, beta)))) : mean;
    };

    private double Variance(double bar, double next, double beta) => options.VarianceType switch
    {
        "fixed_small" => Math.Max((1 - next) / (1 - bar) * beta, 1e-20),
        "fixed_large" => beta,
        _ => throw NoiseScheduleOptions.Unsupported("variance_type", options.VarianceType, "fixed_small, fixed_large"),
    };
}
