using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="DpmSolverMultistep"/>.</summary>
internal sealed record DpmSolverMultistepOptions : MultistepOptions
{
    /// <summary>dpmsolver++ (solves for the clean latents), dpmsolver (for the noise), and their forms with fresh noise, sde-dpmsolver++ and sde-dpmsolver.</summary>
    public string AlgorithmType { get; init; } = "dpmsolver++";

    /// <summary>Second-order rule: midpoint or heun.</summary>
    public string SolverType { get; init; } = "midpoint";

    /// <summary>Makes the last step an Euler step.</summary>
    public bool EulerAtFinal { get; init; }

    /// <summary>Leaves out timesteps whose log(alpha/sigma) is below; for schedules that end in pure noise.</summary>
    public double LambdaMinClipped { get; init; } = double.NegativeInfinity;
}

/// <summary>
/// DPM-Solver++ (2M) and its relatives: the exact linear part of the probability-flow equation, and a Taylor expansion of the rest
/// from the last predictions (Lu et al. 2022a, b). h is the step in log(alpha/sigma).
/// </summary>
internal sealed class DpmSolverMultistep : MultistepSampler
{
    private const int FewSteps = 15;

    private readonly DpmSolverMultistepOptions options;
    private readonly bool solvesForLatents;
    private readonly bool addsNoise;
    private readonly bool heun;

    public DpmSolverMultistep(NoiseSchedule schedule, DpmSolverMultistepOptions options) : base(schedule, options)
    {
        this.options = options;
        (solvesForLatents, addsNoise) = options.AlgorithmType switch
        {
            "dpmsolver++" => (true, false),
            "sde-dpmsolver++" => (true, true),
            "dpmsolver" => (false, false),
            "sde-dpmsolver" => (false, true),
            var other => throw NoiseScheduleOptions.Unsupported("algorithm_type", other, "dpmsolver++, sde-dpmsolver++, dpmsolver, sde-dpmsolver"),
        };
        heun = options.SolverType switch
        {
            "midpoint" => false,
            "heun" => true,
            var other => throw NoiseScheduleOptions.Unsupported("solver_type", other, "midpoint, heun"),
        };
        if (!solvesForLatents && options.EndsAtZero) throw new OptionsException($"algorithm_type {options.AlgorithmType} cannot end at no noise; set final_sigmas_type to sigma_min.");
        if (options.AlgorithmType == "sde-dpmsolver" && options.SolverOrder > 2) throw new OptionsException("algorithm_type sde-dpmsolver has no third order; set solver_order to 1 or 2.");
    }

    protected override bool RoundsKarrasTimesteps => Schedule.Options.BetaSchedule != "squaredcos_cap_v2";

    protected override int UsableTimesteps
    {
        get
        {
            var count = 0;
            foreach (var bar in Schedule.AlphasCumprod)
            {
                if (0.5 * (Math.Log(bar) - Math.Log(1.0 - bar)) >= options.LambdaMinClipped) count++;
            }
            return count;
        }
    }

    protected override double[] FlowTimes(int steps) => [.. TimeGrid.Linspace(1, 1.0 / Schedule.Timesteps, steps + 1).Select(time => 1 - time).Reverse().SkipLast(1)];

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var outputs = new History(3);
        return (call, x) =>
        {
            var (here, next) = (plan.Levels[call], plan.Levels[call + 1]);
            var sample = Denoised(plan, run, call, x);
            outputs.Keep(solvesForLatents ? sample : (x - sample.Times(here.Alpha)).Over(here.Sigma));
            var noise = addsNoise ? run.Noise() : null;
            var h = next.LogSnr - here.LogSnr;
            if (h == 0) return x.alias();   // levels that end at the smallest one twice
            var (first, second) = Differences(plan, outputs, call, h, Order(plan, call, call - run.FirstCall + 1));
            var walked = solvesForLatents ? TowardsLatents(x, outputs[0], first, second, here, next, h) : TowardsNoise(x, outputs[0], first, second, here, next, h);
            if (noise is null || next.Sigma == 0) return walked;
            return walked.Plus(noise.Times(next.Sigma * Math.Sqrt(solvesForLatents ? -Expm1(-2 * h) : Expm1(2 * h))));
        };
    }

    /// <summary>Order of a step: what has been seen, less at the end.</summary>
    private int Order(SamplingPlan plan, int call, int seen)
    {
        var order = Math.Min(options.SolverOrder, seen);
        var few = options.LowerOrderFinal && plan.Timesteps.Count < FewSteps;
        if (call == plan.Timesteps.Count - 1 && (options.EulerAtFinal || few || options.EndsAtZero)) return 1;
        return call == plan.Timesteps.Count - 2 && few ? Math.Min(order, 2) : order;
    }

    /// <summary>First and second divided differences of the kept outputs, as far as the order asks for them.</summary>
    private static (Tensor? First, Tensor? Second) Differences(SamplingPlan plan, History outputs, int call, double h, int order)
    {
        if (order == 1) return (null, null);
        var r0 = (plan.Levels[call].LogSnr - plan.Levels[call - 1].LogSnr) / h;
        var d0 = (outputs[0] - outputs[1]).Over(r0);
        if (order == 2) return (d0, null);
        var r1 = (plan.Levels[call - 1].LogSnr - plan.Levels[call - 2].LogSnr) / h;
        var d1 = (outputs[1] - outputs[2]).Over(r1);
        return (d0.Plus((d0 - d1).Times(r0 / (r0 + r1))), (d0 - d1).Over(r0 + r1));
    }

    /// <summary>A step of the solvers for the clean latents; with noise, time runs twice as fast.</summary>
    private Tensor TowardsLatents(Tensor x, Tensor output, Tensor? first, Tensor? second, NoiseLevel here, NoiseLevel next, double h)
    {
        var span = addsNoise ? 2 * h : h;
        var e = -Expm1(-span);   // share of the way that is walked
        var walked = x.Times(next.Sigma / here.Sigma * (addsNoise ? Math.Exp(-h) : 1)).Plus(output.Times(next.Alpha * e));
        if (first is null) return walked;
        var slope = 1 - e / span;
        walked = walked.Plus(first.Times(next.Alpha * (heun || second is not null ? slope : 0.5 * e)));
        if (second is null) return walked;
        var half = addsNoise ? -0.5 : 0.5;   // the paper has no third order with noise; this is diffusers'
        return walked.Plus(second.Times(next.Alpha * ((e - span) / (span * span) + half)));
    }

    /// <summary>A step of the solvers for the noise.</summary>
    private Tensor TowardsNoise(Tensor x, Tensor output, Tensor? first, Tensor? second, NoiseLevel here, NoiseLevel next, double h)
    {
        var e = Expm1(h);
        var twice = addsNoise ? 2 : 1;
        var walked = x.Times(next.Alpha / here.Alpha) - output.Times(twice * next.Sigma * e);
        if (first is null) return walked;
        walked = walked - first.Times(twice * next.Sigma * (heun || second is not null ? e / h - 1 : 0.5 * e));
        return second is null ? walked : walked - second.Times(next.Sigma * ((e - h) / (h * h) - 0.5));
    }

    /// <summary>e^x − 1 without cancellation near 0.</summary>
    private static double Expm1(double x) => Math.Abs(x) < 1e-5 ? x + x * x / 2 + x * x * x / 6 : Math.Exp(x) - 1;
}
