using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>
/// What an inpainting denoiser sees behind the noisy latents: the hole, then the latents of the picture without it. Training and generation share it.
/// As in diffusers, <c>src/diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_inpaint.py</c>.
/// </summary>
internal static class InpaintingInput
{
    /// <summary>A mask as a hole: 1 from ½ on, 0 below.</summary>
    /// <param name="mask">(B, 1, H, W), 0 to 1.</param>
    /// <returns>(B, 1, H, W) float32.</returns>
    public static Tensor Hole(Tensor mask) => mask.IsAtLeast(0.5).to(ScalarType.Float32);

    /// <summary>A hole at the size of the latents: the top left pixel of each latent pixel's cell.</summary>
    /// <param name="hole">(B, 1, H, W), H and W multiples of the factor.</param>
    /// <param name="factor">Pixels per latent (<see cref="IDiffusionFamily.LatentFactor"/>).</param>
    /// <returns>(B, 1, h, w).</returns>
    public static Tensor Shrink(Tensor hole, int factor)
    {
        var step = TensorIndex.Slice(null, null, factor);
        return hole.index(TensorIndex.Colon, TensorIndex.Colon, step, step);
    }

    /// <summary>Hole and picture without it. The hole of the picture is grey, 0 of [-1, 1].</summary>
    /// <param name="family">Encodes.</param>
    /// <param name="pixels">(B, 3, H, W) float32 in [-1, 1].</param>
    /// <param name="hole">(B, 1, H, W) float32, as <see cref="Hole"/> gives it.</param>
    /// <param name="posterior">Draws from the posterior; null takes its mean.</param>
    /// <returns>(B, 1 + C, h, w) float32.</returns>
    public static Tensor Of(IDiffusionFamily family, Tensor pixels, Tensor hole, Generator? posterior)
    {
        using var scope = NewDisposeScope();
        var masked = family.EncodeImages(pixels * hole.SubtractedFrom(1), posterior);
        return cat([Shrink(hole, family.LatentFactor), masked], 1).MoveToOuterDisposeScope();
    }
}
