using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="DpmSolverSinglestep"/>.</summary>
internal sealed record DpmSolverSinglestepOptions : MultistepOptions
{
    /// <summary>The published default is off; it is on all the same where the last step ends at no noise, or groups do not come out even.</summary>
    public DpmSolverSinglestepOptions() => LowerOrderFinal = false;

    /// <summary>dpmsolver++, or its form with fresh noise, sde-dpmsolver++.</summary>
    public string AlgorithmType { get; init; } = "dpmsolver++";

    /// <summary>Rule of second and third order: midpoint or heun.</summary>
    public string SolverType { get; init; } = "midpoint";
}

/// <summary>
/// DPM-Solver++ (2S, 3S): groups of one, two or three calls, each group walked from its own start with all that its calls have told (Lu et al. 2022a, b).
/// Knows linspace timesteps only, whatever the configuration asks for.
/// </summary>
internal sealed class DpmSolverSinglestep : MultistepSampler
{
    private readonly DpmSolverSinglestepOptions options;
    private readonly bool addsNoise;
    private readonly bool heun;

    public DpmSolverSinglestep(NoiseSchedule schedule, DpmSolverSinglestepOptions options) : base(schedule, options with { TimestepSpacing = "linspace", StepsOffset = 0 })
    {
        this.options = options;
        addsNoise = options.AlgorithmType switch
        {
            "dpmsolver++" => false,
            "sde-dpmsolver++" => true,
            var other => throw NoiseScheduleOptions.Unsupported("algorithm_type", other, "dpmsolver++, sde-dpmsolver++"),
        };
        heun = options.SolverType switch
        {
            "midpoint" => false,
            "heun" => true,
            var other => throw NoiseScheduleOptions.Unsupported("solver_type", other, "midpoint, heun"),
        };
    }

    protected override double[] FlowTimes(int steps) => throw NoiseScheduleOptions.Unsupported("use_flow_sigmas", "true", "false, for this sampler");

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var outputs = new History(3);
        var starts = new History(1);
        var orders = Orders(plan.Timesteps.Count);
        return (call, x) =>
        {
            outputs.Keep(Denoised(plan, run, call, x));
            var order = Math.Min(orders[call], call - run.FirstCall + 1);   // a run from a picture may begin inside a group
            if (order == 1) starts.Keep(x.alias());
            var noise = addsNoise ? run.Noise() : null;
            var walked = Walk(plan, outputs, starts[0], call, order);
            var (here, next) = (plan.Levels[call - order + 1], plan.Levels[call + 1]);
            if (noise is null || next.Sigma == 0) return walked;
            return walked.Plus(noise.Times(next.Sigma * Math.Sqrt(1 - Math.Exp(-2 * (next.LogSnr - here.LogSnr)))));
        };
    }

    /// <summary>From the start of a group to the level after this call.</summary>
    private Tensor Walk(SamplingPlan plan, History outputs, Tensor start, int call, int order)
    {
        var begin = call - order + 1;
        var (here, next) = (plan.Levels[begin], plan.Levels[call + 1]);
        var h = next.LogSnr - here.LogSnr;
        var span = addsNoise ? 2 * h : h;   // with noise, time runs twice as fast
        var share = 1 - Math.Exp(-span);
        var first = outputs[order - 1];
        var walked = start.Times(next.Sigma / here.Sigma * (addsNoise ? Math.Exp(-h) : 1)).Plus(first.Times(next.Alpha * share));
        if (order == 1) return walked;
        var slope = 1 - share / span;
        var late = (outputs[0] - first).Over((plan.Levels[call].LogSnr - here.LogSnr) / h);
        if (order == 2) return walked.Plus(late.Times(next.Alpha * (heun ? slope : 0.5 * share)));
        if (!heun) return walked.Plus(late.Times(next.Alpha * slope));
        var (r0, r1) = ((plan.Levels[call].LogSnr - here.LogSnr) / h, (plan.Levels[call - 1].LogSnr - here.LogSnr) / h);
        var early = (outputs[1] - first).Over(r1);
        var straight = (early.Times(r0) - late.Times(r1)).Over(r0 - r1);
        var bend = (late - early).Times(2 / (r0 - r1));
        var third = (share - span) / (span * span) + (addsNoise ? -0.5 : 0.5);   // the sign with noise is that of diffusers, as in the multistep solver
        return walked.Plus(straight.Times(next.Alpha * slope)).Plus(bend.Times(next.Alpha * third));
    }

    /// <summary>The order of every call: 1, 2, … in each group; the last calls in smaller groups.</summary>
    private int[] Orders(int calls)
    {
        var order = options.SolverOrder;
        int[] group = [.. Enumerable.Range(1, order)];
        IEnumerable<int> Groups(int count) => Enumerable.Repeat(group, Math.Max(count, 0)).SelectMany(one => one);
        var lower = options.LowerOrderFinal || calls % order != 0 || options.EndsAtZero;
        int[] orders = (lower, order, calls % order) switch
        {
            (false, _, _) or (_, 1, _) => [.. Groups(calls / order)],
            (_, 2, 0) => [.. Groups(calls / 2 - 1), 1, 1],
            (_, 3, 0) => [.. Groups(calls / 3 - 1), 1, 2, 1],
            (_, _, var rest) => [.. Groups(calls / order), .. Enumerable.Range(1, rest)],
        };
        if (options.EndsAtZero) orders[^1] = 1;
        return orders;
    }
}
