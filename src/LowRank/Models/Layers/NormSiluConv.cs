using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Models.Layers;

/// <summary>The step that convolutional networks of this library repeat: normalise, SiLU, convolve.</summary>
internal static class NormSiluConv
{
    /// <summary>conv(silu(norm(x))). What lies between is freed as soon as it is used, for it is the largest memory of a VAE.</summary>
    /// <param name="norm">Keeps the shape.</param>
    /// <param name="conv">(B, C, H, W) to (B, C', H', W').</param>
    /// <param name="x">(B, C, H, W).</param>
    /// <returns>(B, C', H', W').</returns>
    public static Tensor Apply(Module<Tensor, Tensor> norm, Module<Tensor, Tensor> conv, Tensor x)
    {
        using var active = Activate(norm, x);
        return conv.call(active);
    }

    private static Tensor Activate(Module<Tensor, Tensor> norm, Tensor x)
    {
        using var normed = norm.call(x);
        return functional.silu(normed, inplace: !normed.requires_grad);   // in place where no gradient needs the normalised values
    }
}
