using LowRank.Diffusion;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>What is drawn for one micro-batch. The tensors are the caller's.</summary>
/// <param name="Noise">(B, C, h, w) float32 on the CPU: added, and predicted.</param>
/// <param name="Perturbation">Like <paramref name="Noise"/>: added to what the denoiser sees, and not predicted; null for none.</param>
/// <param name="Timesteps">B timesteps.</param>
internal readonly record struct DrawnNoise(Tensor Noise, Tensor? Perturbation, long[] Timesteps);

/// <summary>Draws the random part of training steps from the streams <c>noise</c>, <c>perturbation</c> and <c>timestep</c>, by the recipe's <c>[noise]</c>.</summary>
/// <param name="options">Valid.</param>
/// <param name="schedule">The schedule that is trained with (<see cref="NoiseOptions.ScheduleFor"/>).</param>
/// <param name="streams">The run's; not disposed here.</param>
/// <exception cref="OptionsException">The schedule has no such range of timesteps.</exception>
internal sealed class StepNoise(NoiseOptions options, NoiseSchedule schedule, RandomStreams streams)
{
    private readonly TimestepSampler timesteps = options.SamplerFor(schedule);

    /// <summary>Draws for a micro-batch.</summary>
    /// <param name="latents">(B, C, h, w).</param>
    public DrawnNoise Draw(Tensor latents)
    {
        using var scope = NewDisposeScope();
        var noise = Normal("noise", latents.shape);
        if (options.NoiseOffset > 0) noise = WithOffset(noise, latents);
        if (options.MultiresNoiseIterations > 0)
        {
            noise = TrainingNoise.MultiResolution(noise, options.MultiresNoiseIterations, options.MultiresNoiseDiscount,
                () => Uniform("noise"), (_, shape) => Normal("noise", shape));
        }
        var perturbation = options.IpNoiseGamma > 0 ? Normal("perturbation", latents.shape).Times(options.IpNoiseGamma) : null;
        return new DrawnNoise(noise.MoveToOuterDisposeScope(), perturbation?.MoveToOuterDisposeScope(), timesteps.Draw((int)latents.size(0), streams["timestep"]));
    }

    private Tensor WithOffset(Tensor noise, Tensor latents)
    {
        var channels = Normal("noise", [latents.size(0), latents.size(1), 1, 1]);
        var strength = tensor((float)(options.NoiseOffsetRandomStrength ? options.NoiseOffset * Uniform("noise") : options.NoiseOffset));
        if (options.AdaptiveNoiseScale > 0) strength = TrainingNoise.AdaptiveOffset(latents.cpu(), strength, options.AdaptiveNoiseScale);
        return TrainingNoise.WithOffset(noise, channels, strength);
    }

    private Tensor Normal(string stream, long[] shape) => randn(shape, ScalarType.Float32, CPU, generator: streams[stream]);

    private double Uniform(string stream)
    {
        using var number = rand(1, dtype: ScalarType.Float64, generator: streams[stream]);
        return number.item<double>();
    }
}
