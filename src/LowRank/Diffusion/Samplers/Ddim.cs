using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="Ddim"/>.</summary>
internal sealed record DdimOptions : ClipOptions
{
    /// <summary>linspace, leading or trailing.</summary>
    public string TimestepSpacing { get; init; } = "leading";

    /// <summary>Added to every timestep of leading spacing.</summary>
    public int StepsOffset { get; init; }

    /// <summary>Ends at ᾱ = 1 rather than at ᾱ of timestep 0.</summary>
    public bool SetAlphaToOne { get; init; } = true;

    /// <summary>Noise added in each step: 0 none, 1 as much as DDPM.</summary>
    public double Eta { get; init; }

    /// <summary>Reads the noise anew from the clipped picture.</summary>
    public bool UseClippedModelOutput { get; init; }
}

/// <summary>Denoising diffusion implicit models (Song et al. 2021, eq. 12 and 16).</summary>
internal sealed class Ddim(NoiseSchedule schedule, DdimOptions options) : AlphaBarSampler(schedule)
{
    public override SamplingPlan Plan(int steps) => Plan(steps, TimeGrid.Spread(options.TimestepSpacing, Schedule.Timesteps, steps, options.StepsOffset));

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run) => (call, x) =>
    {
        var timestep = plan.Timesteps[call];
        var below = timestep - Schedule.Timesteps / plan.Steps;   // a stride down, not the next timestep of the grid
        var bar = AlphaBar(timestep);
        var next = below >= 0 ? AlphaBar(below) : options.SetAlphaToOne ? 1 : AlphaBar(0);
        var (sample, noise) = Split(run, x, timestep);
        sample = options.Clip(sample);
        if (options.UseClippedModelOutput) noise = (x - sample.Times(Math.Sqrt(bar))).Over(Math.Sqrt(1 - bar));
        var deviation = options.Eta * Math.Sqrt((1 - next) / (1 - bar) * (1 - bar / next));
        var walked = sample.Times(Math.Sqrt(next)).Plus(noise.Times(Math.Sqrt(Math.Max(1 - next - deviation * deviation, 0))));
        return options.Eta > 0 ? walked.Plus(run.Noise().Times(deviation)) : walked;
    };
}
