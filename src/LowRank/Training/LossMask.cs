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
}
