using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>DPM-Solver++ (SDE): an ancestral step to the geometric mean of the levels, and one with the picture seen there (k-diffusion, <c>sample_dpmpp_sde</c>). Draws at every call but the last.</summary>
internal sealed class DpmSolverSde(NoiseSchedule schedule, SigmaOptions options) : SigmaSampler(schedule, options)
{
    public override SamplingPlan Plan(int steps) => TwoCallPlan(steps, GeometricMean);

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var start = new History(1);
        return (call, x) =>
        {
            var level = plan.Levels[call].Sigma;
            var sample = Denoised(run, x, level, plan.Timesteps[call]);
            if (call == plan.Timesteps.Count - 1) return sample;
            if (call % 2 == 0) return Walk(start.Keep(x.alias()), sample, level, plan.Levels[call + 1].Sigma);
            return Walk(start[0], sample, plan.Levels[call - 1].Sigma, plan.Sigmas[call]);
        };

        Tensor Walk(Tensor x, Tensor sample, double from, double to)
        {
            var (down, up) = Ancestral(from, to);
            return x.Times(down / from).Plus(sample.Times(1 - down / from)).Plus(run.Noise().Times(up));
        }
    }
}
