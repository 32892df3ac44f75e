using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="FlowMatchEuler"/> and <see cref="FlowMatchHeun"/>; names and values are those of <c>scheduler_config.json</c>.</summary>
internal record FlowMatchOptions
{
    /// <summary>Timesteps of training.</summary>
    public int NumTrainTimesteps { get; init; } = 1000;

    /// <summary>Moves levels towards noise: shift·u / (1 + (shift − 1)·u); 1 leaves them.</summary>
    public double Shift { get; init; } = 1;
}

/// <summary>Options of <see cref="FlowMatchEuler"/>.</summary>
internal sealed record FlowMatchEulerOptions : FlowMatchOptions
{
    /// <summary>Takes the shift from <see cref="Mu"/> in place of <see cref="FlowMatchOptions.Shift"/>.</summary>
    public bool UseDynamicShifting { get; init; }

    /// <summary>The shift that belongs to the size of the picture; its exponential counts where <see cref="TimeShiftType"/> says so.</summary>
    public double? Mu { get; init; }

    /// <summary>exponential, or linear.</summary>
    public string TimeShiftType { get; init; } = "exponential";

    /// <summary>The level of the last call, to which all are stretched; null leaves them.</summary>
    public double? ShiftTerminal { get; init; }

    /// <summary>Levels from 1 down to one n-th, as pipelines of flow models ask for; false spreads them over the range of training.</summary>
    public bool EvenSigmas { get; init; }

    /// <summary>Spaces the levels as Karras et al. 2022.</summary>
    public bool UseKarrasSigmas { get; init; }

    /// <summary>Spaces the logarithms of the levels evenly.</summary>
    public bool UseExponentialSigmas { get; init; }

    /// <summary>Spaces the levels by Beta quantiles.</summary>
    public bool UseBetaSigmas { get; init; }

    /// <summary>Begins every step from fresh noise.</summary>
    public bool StochasticSampling { get; init; }
}

/// <summary>
/// A straight path from noise to latents (rectified flow: Liu et al. 2022, arXiv 2209.03003; Lipman et al. 2023, arXiv 2210.02747): state (1 − sigma)·latents + sigma·noise, and the
/// denoiser predicts its slope. Levels of diffusers: with a fixed shift and levels of its own, the range ends at the shifted smallest level and is shifted once more.
/// </summary>
internal abstract class FlowMatch(NoiseSchedule schedule, FlowMatchOptions options) : Sampler(schedule)
{
    /// <summary>Levels before the shift, largest first.</summary>
    protected double[] Spread(int steps, bool shiftsRange)
    {
        var total = options.NumTrainTimesteps;
        var smallest = shiftsRange ? (float)Shifted(1.0 / total) : 1.0 / total;
        return [.. TimeGrid.Linspace(total, smallest * total, steps).Select(time => time / total)];
    }

    /// <summary>A level moved towards noise.</summary>
    protected double Shifted(double level) => options.Shift * level / (1 + (options.Shift - 1) * level);

    /// <summary>A plan of one call a step.</summary>
    protected SamplingPlan Plan(int steps, double[] levels)
    {
        double[] sigmas = [.. levels.Select(level => (double)(float)level)];
        return new SamplingPlan
        {
            Steps = steps,
            Timesteps = [.. sigmas.Select(sigma => (double)((float)sigma * options.NumTrainTimesteps))],
            Sigmas = [.. sigmas, 0],
            Levels = [.. sigmas.Append(0).Select(sigma => new NoiseLevel(1 - sigma, sigma))],
            InputFactors = [.. sigmas.Select(_ => 1.0)],
        };
    }
}

/// <summary>Euler's method on a straight path.</summary>
internal sealed class FlowMatchEuler(NoiseSchedule schedule, FlowMatchEulerOptions options) : FlowMatch(schedule, options)
{
    public override SamplingPlan Plan(int steps)
    {
        var dynamic = options.UseDynamicShifting;
        if (dynamic != options.Mu.HasValue) throw new OptionsException("use_dynamic_shifting and mu go together; give both or neither");
        double[] levels = options.EvenSigmas ? [.. TimeGrid.Linspace(1, 1.0 / steps, steps).Select(level => (double)(float)level)] : Spread(steps, shiftsRange: !dynamic);
        levels = [.. dynamic ? levels.Select(level => Strength() / (Strength() + (1 / level - 1))) : levels.Select(Shifted)];
        if (options.ShiftTerminal is { } terminal)
        {
            var stretch = (1 - levels[^1]) / (1 - terminal);
            levels = [.. levels.Select(level => 1 - (1 - level) / stretch)];
        }
        var curve = new SigmaOptions { UseKarrasSigmas = options.UseKarrasSigmas, UseExponentialSigmas = options.UseExponentialSigmas, UseBetaSigmas = options.UseBetaSigmas };
        return Plan(steps, curve.Curve(levels[^1], levels[0], steps) ?? levels);

        double Strength() => options.TimeShiftType switch
        {
            "exponential" => Math.Exp(options.Mu!.Value),
            "linear" => options.Mu!.Value,
            var other => throw NoiseScheduleOptions.Unsupported("time_shift_type", other, "exponential, linear"),
        };
    }

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run) => (call, x) =>
    {
        var (sigma, next) = (plan.Sigmas[call], plan.Sigmas[call + 1]);
        var slope = run.Predict(x, plan.Timesteps[call]);
        return options.StochasticSampling
            ? (x - slope.Times(sigma)).Times(1 - next).Plus(run.Noise().Times(next))
            : x.Plus(slope.Times(next - sigma));
    };
}

/// <summary>Heun's method on a straight path: two calls a step, one in the last.</summary>
internal sealed class FlowMatchHeun(NoiseSchedule schedule, FlowMatchOptions options) : FlowMatch(schedule, options)
{
    public override SamplingPlan Plan(int steps)
    {
        var plan = Plan(steps, [.. Spread(steps, shiftsRange: true).Select(Shifted)]);
        return plan with
        {
            Timesteps = [.. Twice(plan.Timesteps)],
            Sigmas = [.. Twice([.. plan.Sigmas.SkipLast(1)]), 0],
            Levels = [.. Twice([.. plan.Levels.SkipLast(1)]), plan.Levels[^1]],
            InputFactors = [.. Twice(plan.InputFactors)],
            CallsPerStep = 2,
        };
    }

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var (starts, slopes) = (new History(1), new History(1));
        return (call, x) =>
        {
            var slope = run.Predict(x, plan.Timesteps[call]);
            if (call % 2 == 1) return starts[0].Plus((slopes[0].Plus(slope)).Times(0.5 * (plan.Sigmas[call] - plan.Sigmas[call - 1])));
            starts.Keep(x.alias());
            slopes.Keep(slope);
            return x.Plus(slope.Times(plan.Sigmas[call + 1] - plan.Sigmas[call]));
        };
    }

    /// <summary>Every value but the first twice: the second call of a step is at the level of the next one.</summary>
    private static IEnumerable<T> Twice<T>(IReadOnlyList<T> values) => values.SelectMany((value, place) => Enumerable.Repeat(value, place == 0 ? 1 : 2));
}
