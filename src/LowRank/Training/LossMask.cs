using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>Masks of pictures as weights of latents.</summary>
internal static class LossMask
{
    /// <summary>
    /// The mean of each latent pixel's cell, as kohya-ss/sd-scripts does (library/custom_train_functions.py, <c>apply_masked_loss</c>).
    /// Where the sizes do not divide, cells overlap: row i takes the rows from floor(i·H/h) to below ceil((i + 1)·H/h).
    /// </summary>
    /// <param name="mask">(B, 1, H, W) float32, 0 to 1.</param>
    /// <param name="height">Rows of the latents.</param>
    /// <param name="width">Columns of the latents.</param>
    /// <returns>(B, 1, h, w).</returns>
    public static Tensor Area(Tensor mask, long height, long width) => nn.functional.adaptive_avg_pool2d(mask, [height, width]);

    /// <summary>The top left pixel of each latent pixel's cell: row floor(i·H/h); parameters and result as in <see cref="Area"/>.</summary>
    public static Tensor Corner(Tensor mask, long height, long width) => nn.functional.interpolate(mask, size: [height, width], mode: InterpolationMode.Nearest);

    /// <summary>Factors of the elements' losses: the mask, but not below a weight, and divided by its mean where pictures with small masks shall count as much as others.</summary>
    /// <param name="area">(B, 1, h, w), as <see cref="Area"/> gives it.</param>
    /// <param name="unmasked">Weight where the mask is black.</param>
    /// <param name="normalise">Whether each picture's weights have a mean of 1. One without any weight keeps none.</param>
    public static Tensor Weights(Tensor area, double unmasked, bool normalise)
    {
        using var scope = NewDisposeScope();
        var weights = area.AtLeast(unmasked);
        if (normalise) weights /= weights.mean([1, 2, 3], keepdim: true).AtLeast(1e-6);
        return weights.MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Factors of prediction and target in the 2022 package (lora_diffusion/cli_lora_pti.py, <c>loss_step</c>): (v + 0.5 + 0.01)^temperature, divided by
    /// the largest of the whole batch. A squared error is so weighed by their square.
    /// </summary>
    /// <param name="corner">(B, 1, h, w), as <see cref="Corner"/> gives it.</param>
    /// <param name="temperature">The exponent.</param>
    public static Tensor Factors(Tensor corner, double temperature)
    {
        using var scope = NewDisposeScope();
        var powers = corner.Plus(0.5).Plus(0.01).Power(temperature);
        return (powers / powers.max()).MoveToOuterDisposeScope();
    }
}
