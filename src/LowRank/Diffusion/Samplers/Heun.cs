using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Heun's second-order method on the probability-flow equation: two calls a step, one in the last (Karras et al. 2022, algorithm 1).</summary>
internal sealed class Heun(NoiseSchedule schedule, SigmaOptions options) : SigmaSampler(schedule, options)
{
    public override SamplingPlan Plan(int steps) => TwoCallPlan(steps, middle: null);

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var start = new History(1);
        var slope = new History(1);
        return (call, x) =>
        {
            var sigma = plan.Sigmas[call];
            var here = (x - Denoised(run, x, sigma, plan.Timesteps[call])).Over(sigma);
            if (call % 2 == 0)
            {
                start.Keep(x.alias());
                return x.Plus(slope.Keep(here).Times(plan.Sigmas[call + 1] - sigma));
            }
            return start[0].Plus(slope[0].Plus(here).Times((sigma - plan.Sigmas[call - 1]) / 2));
        };
    }
}
