using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>A sampler that steps between whole timesteps of the schedule's own ᾱ table.</summary>
internal abstract class AlphaBarSampler(NoiseSchedule schedule) : Sampler(schedule)
{
    /// <summary>ᾱ of a timestep of the table.</summary>
    protected double AlphaBar(double timestep) => Schedule.AlphasCumprod[(int)timestep];

    /// <summary>A plan of calls at these timesteps.</summary>
    protected SamplingPlan Plan(int steps, IReadOnlyList<double> timesteps) => new()
    {
        Steps = steps,
        Timesteps = timesteps,
        Levels = [.. timesteps.Select(timestep => NoiseLevel.OfAlphaBar(AlphaBar(timestep)))],
    };

    /// <summary>Asks the denoiser; the state is its input.</summary>
    /// <returns>The clean latents and the noise that its prediction implies.</returns>
    protected (Tensor Sample, Tensor Noise) Split(SamplerRun run, Tensor x, double timestep)
    {
        var level = NoiseLevel.OfAlphaBar(AlphaBar(timestep));
        var output = run.Predict(x, timestep);
        return (Predictions.ToSample(Prediction, x, output, level.Alpha, level.Sigma), Predictions.ToNoise(Prediction, x, output, level.Alpha, level.Sigma));
    }
}
