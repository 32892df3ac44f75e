using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Euler steps to below the next level, and fresh noise up to it (k-diffusion, <c>sample_euler_ancestral</c>). Draws at every step; the last draw is weighted 0.</summary>
internal sealed class EulerAncestral(NoiseSchedule schedule, SigmaOptions options) : SigmaSampler(schedule, options)
{
    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run) => (call, x) =>
    {
        var sigma = plan.Sigmas[call];
        var (down, up) = Ancestral(sigma, plan.Sigmas[call + 1]);
        var walked = x.Plus((x - Denoised(run, x, sigma, plan.Timesteps[call])).Times((down - sigma) / sigma));
        return walked.Plus(run.Noise().Times(up));
    };
}
