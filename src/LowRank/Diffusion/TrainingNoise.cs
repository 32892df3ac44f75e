using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>The noise of a training step, drawn in float32 on the CPU so that every device sees the same numbers.</summary>
internal static class TrainingNoise
{
    /// <summary>Gaussian noise, with one more draw for each channel of each item where an offset is asked for (<see cref="WithOffset"/>).</summary>
    /// <param name="shape">(B, C, h, w).</param>
    /// <param name="offset">Weight of the channel's draw, 0 for none; 0.05 to 0.1 is usual.</param>
    /// <param name="generator">The noise stream; the noise is drawn before the offset.</param>
    /// <returns>(B, C, h, w) float32 on the CPU.</returns>
    public static Tensor Draw(ReadOnlySpan<long> shape, double offset, Generator generator)
    {
        using var scope = NewDisposeScope();
        var noise = randn(shape, ScalarType.Float32, CPU, generator: generator);
        if (offset != 0) noise = WithOffset(noise, randn([shape[0], shape[1], 1, 1], ScalarType.Float32, CPU, generator: generator), offset);
        return noise.MoveToOuterDisposeScope();
    }

    /// <summary>Shifts whole channels, so that a model can learn pictures darker or lighter than grey (crosslabs.org, "Diffusion with offset noise").</summary>
    /// <param name="noise">(B, C, h, w).</param>
    /// <param name="channels">Gaussian draws (B, C, 1, 1).</param>
    /// <param name="offset">Their weight.</param>
    public static Tensor WithOffset(Tensor noise, Tensor channels, double offset)
    {
        using var scope = NewDisposeScope();
        return (noise + offset * channels).MoveToOuterDisposeScope();
    }
}
