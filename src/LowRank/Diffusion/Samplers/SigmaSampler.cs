using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>
/// A sampler whose state is latents + sigma·noise (Karras et al. 2022). Timesteps may be fractional; the levels are those of the timestep grid,
/// or a curve between that grid's ends.
/// </summary>
internal abstract class SigmaSampler(NoiseSchedule schedule, SigmaOptions options) : Sampler(schedule)
{
    protected SigmaOptions Options { get; } = options;

    /// <summary>Karras timesteps are rounded to whole ones.</summary>
    protected virtual bool RoundsKarrasTimesteps => false;

    /// <summary>Timesteps, and float32 levels with the one to end at behind them.</summary>
    protected virtual (double[] Timesteps, double[] Sigmas) Grid(int steps)
    {
        var timesteps = TimeGrid.Spread(Options.TimestepSpacing, Schedule.Timesteps, steps, Options.StepsOffset, whole: false);
        var sigmas = Levels(timesteps);
        if (Options.Curve(sigmas[^1], sigmas[0], steps) is { } curve)
        {
            sigmas = curve;
            var rounds = Options.UseKarrasSigmas && RoundsKarrasTimesteps;
            timesteps = [.. curve.Select(Schedule.TimestepOfSigma).Select(time => rounds ? Math.Round(time) : time)];
        }
        var last = Options.EndsAtZero ? 0 : Schedule.Sigmas[0];
        return (timesteps, [.. sigmas.Append(last).Select(sigma => (double)(float)sigma)]);
    }

    /// <summary>The levels of the grid's timesteps, without the one to end at.</summary>
    protected virtual double[] Levels(double[] timesteps) => [.. timesteps.Select(Schedule.SigmaOfTimestep)];

    public override SamplingPlan Plan(int steps)
    {
        var (timesteps, sigmas) = Grid(steps);
        return Plan(steps, timesteps, sigmas, callsPerStep: 1);
    }

    /// <summary>A plan of two calls a step, the second at a level between, and one call in the last step, which ends at no noise.</summary>
    /// <param name="steps">Steps.</param>
    /// <param name="middle">The level of the second call, from those of step and next step; null makes it the next step's, at that step's timestep.</param>
    protected SamplingPlan TwoCallPlan(int steps, Func<double, double, double>? middle)
    {
        if (!Options.EndsAtZero) throw NoiseScheduleOptions.Unsupported("final_sigmas_type", Options.FinalSigmasType, "zero, for samplers of two calls a step");
        var (timesteps, sigmas) = Grid(steps);
        var plan = Plan(steps, timesteps, sigmas, callsPerStep: 2);
        var times = new List<double>();
        var levels = new List<NoiseLevel>();
        var walked = new List<double> { sigmas[0] };
        for (var step = 0; step < steps; step++)
        {
            times.Add(timesteps[step]);
            levels.Add(new(1, sigmas[step]));
            if (step == steps - 1) continue;
            var between = middle?.Invoke(sigmas[step], sigmas[step + 1]) ?? sigmas[step + 1];
            times.Add(middle is null ? timesteps[step + 1] : Schedule.TimestepOfSigma(between));
            levels.Add(new(1, between));
            walked.AddRange([sigmas[step + 1], sigmas[step + 1]]);
        }
        return plan with { Timesteps = times, Levels = [.. levels, new(1, 0)], Sigmas = [.. walked, 0] };
    }

    /// <summary>The level halfway in the logarithm, float32.</summary>
    protected static double GeometricMean(double first, double second) => (float)Math.Exp((Math.Log(first) + Math.Log(second)) / 2);

    /// <summary>A plan of calls at these timesteps and levels. Start noise is scaled to the largest level, with leading spacing to its sum with unit latents.</summary>
    protected SamplingPlan Plan(int steps, IReadOnlyList<double> timesteps, IReadOnlyList<double> sigmas, int callsPerStep)
    {
        var largest = sigmas.Max();
        return new SamplingPlan
        {
            Steps = steps,
            Timesteps = timesteps,
            Sigmas = sigmas,
            Levels = [.. sigmas.Select(sigma => new NoiseLevel(1, sigma))],
            InitialScale = Options.TimestepSpacing == "leading" ? Math.Sqrt(largest * largest + 1) : largest,
            CallsPerStep = callsPerStep,
        };
    }

    /// <summary>Asks the denoiser for the clean latents in a state.</summary>
    /// <param name="run">The run.</param>
    /// <param name="x">State (B, C, h, w) at <paramref name="sigma"/>.</param>
    /// <param name="sigma">Its level.</param>
    /// <param name="timestep">What the denoiser is told.</param>
    protected Tensor Denoised(SamplerRun run, Tensor x, double sigma, double timestep)
    {
        var level = NoiseLevel.OfSigma(sigma);
        var input = x.Times(level.Alpha);
        return Predictions.ToSample(Prediction, input, run.Predict(input, timestep), level.Alpha, level.Sigma);
    }

    /// <summary>Splits a step into the level to walk down to and the noise to add, so that the level reached is <paramref name="next"/> (Karras et al. 2022).</summary>
    protected static (double Down, double Up) Ancestral(double sigma, double next)
    {
        var up = Math.Sqrt(Math.Max(next * next * (sigma * sigma - next * next) / (sigma * sigma), 0));
        return (Math.Sqrt(Math.Max(next * next - up * up, 0)), up);
    }
}
