using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Preservation without prior pictures: the base, adapter off, says what the adapted model should go on predicting for the same noisy latents
/// (Li and Hoiem 2016, arXiv 1606.09282, for a denoiser; ai-toolkit's "differential output preservation").
/// </summary>
/// <param name="adapter">On the denoiser; stays the caller's. While the teacher speaks its strength is 0, which leaves the base's outputs as they are and draws no dropout.</param>
/// <param name="weight">How much the term counts beside the loss; above 0.</param>
internal sealed class Teacher(AdapterSet adapter, double weight)
{
    /// <summary>The term of each item: weight · mean over channels, height and width of (prediction − teacher's)². No gradient goes into the teacher.</summary>
    /// <param name="predict">The denoiser, as <see cref="DenoisingLoss"/> has it.</param>
    /// <param name="seen">What it sees: (B, C, h, w) float32 noisy latents, with what stands beside them.</param>
    /// <param name="timesteps">(B) float32.</param>
    /// <param name="conditioning">For B items: the captions, or others that the teacher is asked with.</param>
    /// <param name="prediction">(B, C, h, w) float32: what the adapted model predicted for these; null asks it.</param>
    /// <returns>(B) float32, in the caller's dispose scope.</returns>
    public Tensor Terms(Func<Tensor, Tensor, Conditioning, Tensor> predict, Tensor seen, Tensor timesteps, Conditioning conditioning, Tensor? prediction)
    {
        using var scope = NewDisposeScope();
        var own = prediction ?? predict(seen, timesteps, conditioning).to(ScalarType.Float32);
        var difference = own - Ask(predict, seen, timesteps, conditioning);
        return difference.Squared().mean([1, 2, 3]).Times(weight).MoveToOuterDisposeScope();
    }

    private Tensor Ask(Func<Tensor, Tensor, Conditioning, Tensor> predict, Tensor seen, Tensor timesteps, Conditioning conditioning)
    {
        var strength = adapter.Strength;
        using var quiet = no_grad();
        adapter.Strength = 0;
        try
        {
            return predict(seen, timesteps, conditioning).to(ScalarType.Float32);
        }
        finally
        {
            adapter.Strength = strength;
        }
    }
}
