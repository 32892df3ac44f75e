using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="Tcd"/>.</summary>
internal sealed record TcdOptions
{
    /// <summary>Steps of the grid the model was distilled on.</summary>
    public int OriginalInferenceSteps { get; init; } = 50;

    /// <summary>Randomness of each step: 0 none, 1 all the way to a clean picture and back.</summary>
    public double Eta { get; init; } = 0.3;
}

/// <summary>Trajectory consistency distillation (Zheng et al. 2024, algorithm 4): past the next timestep, and noised back to it. The last step ends at timestep 0.</summary>
internal sealed class Tcd(NoiseSchedule schedule, TcdOptions options) : AlphaBarSampler(schedule)
{
    public override SamplingPlan Plan(int steps) => Plan(steps, Lcm.Grid(Schedule.Timesteps, options.OriginalInferenceSteps, steps));

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run) => (call, x) =>
    {
        var last = call + 1 == plan.Timesteps.Count;
        var next = last ? 0 : plan.Timesteps[call + 1];
        var beyond = Math.Floor((double)((float)(1 - options.Eta) * (float)next));
        var (sample, noise) = Split(run, x, plan.Timesteps[call]);
        var level = NoiseLevel.OfAlphaBar(AlphaBar(beyond));
        var walked = sample.Times(level.Alpha).Plus(noise.Times(level.Sigma));
        if (last || options.Eta <= 0) return walked;
        var share = AlphaBar(next) / AlphaBar(beyond);
        return walked.Times(Math.Sqrt(share)).Plus(run.Noise().Times(Math.Sqrt(1 - share)));
    };
}
