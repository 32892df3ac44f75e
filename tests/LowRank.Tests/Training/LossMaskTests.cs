using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

public class LossMaskTests
{
    private static readonly float[] Half = [1, 1, 0, 0];

    [Fact]
    public void A_weight_for_what_is_not_masked_is_a_floor()
    {
        using var scope = NewDisposeScope();
        TensorAssert.Close(tensor(new[] { 0.5f, 0.2f, 0.2f, 1f }, [1, 1, 2, 2]), LossMask.Weights(tensor(new[] { 0.5f, 0.1f, 0f, 1f }, [1, 1, 2, 2]), 0.2, normalise: false), 0, 1e-7);
    }

    [Fact]
    public void Normalised_masks_count_alike_whatever_their_area_and_a_black_one_not_at_all()
    {
        using var scope = NewDisposeScope();
        var masks = tensor((float[])[.. Half, 1, 0, 0, 0, 0, 0, 0, 0], [3, 1, 2, 2]);
        var weights = LossMask.Weights(masks, 0, normalise: true);
        TensorAssert.Close(tensor((float[])[2, 2, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0], [3, 1, 2, 2]), weights, 1e-6, 0);
    }

    [Fact]
    public void Weighing_leaves_no_tensor_behind()
    {
        using var mask = tensor(Half, [1, 1, 2, 2]);
        LeakGuard.AssertNothingLeft(() =>
        {
            LossMask.Weights(mask, 0.1, normalise: true).Dispose();
            LossMask.Factors(mask, 1.7).Dispose();
        });
    }
}
