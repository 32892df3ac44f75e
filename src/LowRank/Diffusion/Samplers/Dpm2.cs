using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>DPM-Solver-2 in noise levels: a half step to the geometric mean, whose slope makes the whole step (Karras et al. 2022; k-diffusion, <c>sample_dpm_2</c>).</summary>
internal sealed class Dpm2(NoiseSchedule schedule, SigmaOptions options) : SigmaSampler(schedule, options)
{
    protected override bool RoundsKarrasTimesteps => true;

    public override SamplingPlan Plan(int steps) => TwoCallPlan(steps, GeometricMean);

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var start = new History(1);
        return (call, x) =>
        {
            var level = plan.Levels[call].Sigma;
            var slope = (x - Denoised(run, x, level, plan.Timesteps[call])).Over(level);
            if (call % 2 == 1) return start[0].Plus(slope.Times(plan.Sigmas[call] - plan.Sigmas[call - 1]));
            start.Keep(x.alias());
            return x.Plus(slope.Times(plan.Levels[call + 1].Sigma - level));
        };
    }
}

/// <summary>DPM-Solver-2 to below the next level, and fresh noise up to it (k-diffusion, <c>sample_dpm_2_ancestral</c>). Draws once a step, not in the last.</summary>
internal sealed class Dpm2Ancestral(NoiseSchedule schedule, SigmaOptions options) : SigmaSampler(schedule, options)
{
    protected override bool RoundsKarrasTimesteps => true;

    public override SamplingPlan Plan(int steps) => TwoCallPlan(steps, (sigma, next) => GeometricMean(sigma, Ancestral(sigma, next).Down));

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var start = new History(1);
        return (call, x) =>
        {
            var level = plan.Levels[call].Sigma;
            var slope = (x - Denoised(run, x, level, plan.Timesteps[call])).Over(level);
            if (call % 2 == 0)
            {
                start.Keep(x.alias());
                return x.Plus(slope.Times(plan.Levels[call + 1].Sigma - level));
            }
            var from = plan.Levels[call - 1].Sigma;
            var (down, up) = Ancestral(from, plan.Sigmas[call]);
            return start[0].Plus(slope.Times(down - from)).Plus(run.Noise().Times(up));
        };
    }
}
