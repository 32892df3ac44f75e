using LowRank.Diffusion;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// What an autoencoder is trained on: pixels that come back, and latents that stay near the normal distribution
/// (Rombach et al. 2022, §3.1 and appendix G, without their perceptual and adversarial parts).
/// </summary>
internal sealed record ReconstructionLoss
{
    /// <summary>Weight of the mean absolute error.</summary>
    public double L1 { get; init; }

    /// <summary>Weight of the mean squared error.</summary>
    public double Mse { get; init; } = 1;

    /// <summary>Weight of the mean absolute error of differences between neighbours, across and down: sharp edges.</summary>
    public double Edges { get; init; }

    /// <summary>Weight of the Kullback-Leibler divergence, summed over all latent numbers of a picture, mean over the pictures.</summary>
    public double Kl { get; init; } = 1e-6;

    /// <summary>The loss of one micro-batch.</summary>
    /// <param name="pixels">(B, 3, H, W) float32 in [-1, 1].</param>
    /// <param name="made">What the autoencoder made of them, attached to the graph.</param>
    /// <param name="items">What the pictures are called.</param>
    public MicroBatchLoss Of(Tensor pixels, Reconstruction made, IReadOnlyList<string> items)
    {
        using var scope = NewDisposeScope();
        var error = made.Pixels - pixels;   // (B, 3, H, W)
        var each = error.Squared().mean([1, 2, 3]).Times(Mse).Plus(made.KlDivergence.Times(Kl));   // (B)
        if (L1 > 0) each = each.Plus(error.abs().mean([1, 2, 3]).Times(L1));
        if (Edges > 0) each = each.Plus(Differences(error, 3).Plus(Differences(error, 2)).Times(Edges));
        var perItem = each.detach().cpu().data<float>().ToArray();
        return new MicroBatchLoss(each.mean().MoveToOuterDisposeScope(), perItem, items);
    }

    /// <summary>Mean absolute difference of neighbours along an axis: (B). The difference of two pictures' differences is that of their difference.</summary>
    private static Tensor Differences(Tensor error, int axis) => error.diff(1, axis).abs().mean([1, 2, 3]);
}
