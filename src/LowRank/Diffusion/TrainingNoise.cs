using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>
/// What training does to Gaussian noise before it is used. Numbers are drawn by the caller, in float32 on the CPU, so that every device sees the same ones.
/// Formulas: kohya-ss/sd-scripts, library/custom_train_functions.py (<c>apply_noise_offset</c>, <c>pyramid_noise_like</c>).
/// </summary>
internal static class TrainingNoise
{
    /// <summary>Shifts whole channels, so that a model can learn pictures darker or lighter than grey (crosslabs.org, "Diffusion with offset noise").</summary>
    /// <param name="noise">(B, C, h, w).</param>
    /// <param name="channels">Gaussian draws (B, C, 1, 1).</param>
    /// <param name="strength">Their weight, () or (B, C, 1, 1).</param>
    public static Tensor WithOffset(Tensor noise, Tensor channels, Tensor strength)
    {
        using var scope = NewDisposeScope();
        return noise.Plus(strength * channels).MoveToOuterDisposeScope();
    }

    /// <summary>An offset that grows with how far a picture's channels are from 0: max(0, offset + scale · |mean over height and width|).</summary>
    /// <param name="latents">(B, C, h, w).</param>
    /// <param name="offset">() float32: the offset without it.</param>
    /// <param name="scale">How much it grows; below 0 it falls.</param>
    /// <returns>(B, C, 1, 1).</returns>
    public static Tensor AdaptiveOffset(Tensor latents, Tensor offset, double scale)
    {
        using var scope = NewDisposeScope();
        return offset.Plus(latents.mean([2, 3], keepdim: true).abs().Times(scale)).AtLeast(0).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Multi-resolution noise: coarser and coarser levels are added, then all is divided by the deviation over the whole batch.
    /// The first level is of full size and weight 1, as in the published form.
    /// </summary>
    /// <param name="noise">(B, C, h, w).</param>
    /// <param name="levels">How many at most; a level with a side of one pixel is the last.</param>
    /// <param name="discount">Weight of a level against the one before.</param>
    /// <param name="uniform">Draws a number in [0, 1) for each level: each is 2 to 4 times coarser, to the power of its number.</param>
    /// <param name="draw">Draws a level's noise: its number from 0, its shape.</param>
    public static Tensor MultiResolution(Tensor noise, int levels, double discount, Func<double> uniform, Func<int, long[], Tensor> draw)
    {
        using var scope = NewDisposeScope();
        var (height, width) = (noise.size(2), noise.size(3));
        var sum = noise.clone();
        for (var level = 0; level < levels; level++)
        {
            var coarser = Math.Pow(2 * uniform() + 2, level);
            var (rows, columns) = (Math.Max(1, (long)(height / coarser)), Math.Max(1, (long)(width / coarser)));
            var coarse = draw(level, [noise.size(0), noise.size(1), rows, columns]);
            var full = nn.functional.interpolate(coarse, size: [height, width], mode: InterpolationMode.Bilinear, align_corners: false);
            sum.AddInPlace(full, Math.Pow(discount, level));
            if (rows == 1 || columns == 1) break;
        }
        return (sum / sum.std()).MoveToOuterDisposeScope();
    }
}
