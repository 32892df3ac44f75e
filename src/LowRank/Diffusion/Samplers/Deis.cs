using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>
/// DEIS (Zhang and Chen 2023, arXiv 2204.13902), log-rho form: the polynomial through the last predictions of noise, in the logarithm of rho = sigma/alpha,
/// integrated over the step. It never ends at no noise: the last level is the smallest of training, or with levels by formula the last one again.
/// </summary>
internal sealed class Deis(NoiseSchedule schedule, MultistepOptions options) : MultistepSampler(schedule, options)
{
    private const int FewSteps = 15;

    protected override double[] FlowTimes(int steps) => throw NoiseScheduleOptions.Unsupported("use_flow_sigmas", "true", "false, for this sampler");

    protected override double End(double[] sigmas, bool byFormula) => byFormula ? sigmas[^1] : Schedule.Sigmas[0];

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var noises = new History(3);
        return (call, x) =>
        {
            var (here, next) = (plan.Levels[call], plan.Levels[call + 1]);
            noises.Keep((x - Denoised(plan, run, call, x).Times(here.Alpha)).Over(here.Sigma));
            var order = Math.Min(Options.SolverOrder, call - run.FirstCall + 1);
            var left = plan.Timesteps.Count - call;
            if (Options.LowerOrderFinal && plan.Timesteps.Count < FewSteps) order = Math.Min(order, left);
            var weights = Weights([.. Enumerable.Range(0, order).Select(back => Rho(plan.Levels[call - back]))], Rho(next));
            var walked = x.Over(here.Alpha);
            for (var back = 0; back < order; back++) walked = walked.Plus(noises[back].Times(weights[back]));
            return walked.Times(next.Alpha);
        };
    }

    private static double Rho(NoiseLevel level) => level.Sigma / level.Alpha;

    /// <summary>∫ from the first node to <paramref name="end"/> of each Lagrange polynomial in log rho; float64, since for three nodes the terms nearly cancel.</summary>
    private static double[] Weights(double[] nodes, double end)
    {
        double[] logs = [.. nodes.Select(node => Math.Log(node / nodes[0]))];   // v, 0 at the first node: rho = nodes[0] · e^v
        var v = Math.Log(end / nodes[0]);
        double[] moments = [end - nodes[0], (v - 1) * end + nodes[0], ((v - 2) * v + 2) * end - 2 * nodes[0]];   // ∫ v^p d rho
        return [.. logs.Select((own, place) =>
        {
            double[] others = [.. logs.Where((_, other) => other != place)];
            var scale = others.Aggregate(1.0, (product, other) => product * (own - other));
            return others switch
            {
                [] => moments[0],
                [var a] => (moments[1] - a * moments[0]) / scale,
                [var a, var b, ..] => (moments[2] - (a + b) * moments[1] + a * b * moments[0]) / scale,
            };
        })];
    }
}
