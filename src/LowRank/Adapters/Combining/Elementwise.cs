using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Combining;

/// <summary>Several tensors of one shape made into one, number by number. Results lie in the current scope.</summary>
internal static class Elementwise
{
    /// <summary>Σ weight · tensor.</summary>
    public static Tensor Sum(IReadOnlyList<Tensor> tensors, IReadOnlyList<double> weights)
    {
        var sum = tensors[0].Times(weights[0]);
        for (var i = 1; i < tensors.Count; i++) sum.AddInPlace(tensors[i], weights[i]);
        return sum;
    }

    /// <summary>
    /// Trims: keeps the numbers of the largest size and sets the others to 0 (TIES-Merging, arXiv:2306.01708, section 3.2, step 1).
    /// </summary>
    /// <param name="x">Any shape.</param>
    /// <param name="density">Share that is kept, 0 to 1; of n numbers the whole part of density · n.</param>
    public static Tensor KeepLargest(Tensor x, double density)
    {
        var flat = x.flatten();
        var kept = flat.abs().topk((int)(density * flat.numel())).indexes;
        return zeros_like(flat).scatter(0, kept, flat.gather(0, kept)).view(x.shape);
    }

    /// <summary>Drops and rescales: keeps numbers by chance and divides them by the share, so that the mean stays (DARE, arXiv:2311.03099, section 3.2).</summary>
    /// <param name="x">Any shape.</param>
    /// <param name="density">Share that is kept, above 0 to 1.</param>
    /// <param name="draw">Numbers in [0, 1) for a shape; where one is below the share, the number of x is kept.</param>
    public static Tensor KeepByChance(Tensor x, double density, Func<long[], Tensor> draw) =>
        x.mul(draw(x.shape).IsAtLeast(density).logical_not().to(x.dtype)).DivideInPlace(density);

    /// <summary>
    /// Elects a sign for every place and takes the mean of those that have it (TIES-Merging, steps 2 and 3), as PEFT does
    /// (peft/utils/merge_utils.py): signs are elected before weighing, and a sum of 0 counts as plus.
    /// </summary>
    /// <param name="tensors">Trimmed or dropped; a 0 has no sign and no part in the mean.</param>
    /// <param name="weights">Of the numbers whose mean is taken; the count that divides them is not weighed.</param>
    /// <param name="bySum">Whether larger numbers have more say: the sign of the sum, not that of the sum of signs.</param>
    public static Tensor ElectSign(IReadOnlyList<Tensor> tensors, IReadOnlyList<double> weights, bool bySum)
    {
        var all = stack(tensors);                                             // (files, …)
        var signs = all.sign();
        var plus = (bySum ? all : signs).sum([0]).IsAtLeast(0).to(all.dtype); // 1 or 0
        var agrees = signs.eq(plus.Times(2).Minus(1)).to(all.dtype);
        long[] column = [-1, .. tensors[0].shape.Select(_ => 1L)];
        var weighed = all.mul(agrees).mul(tensor(weights.ToArray(), all.dtype).view(column));
        return weighed.sum([0]).div(agrees.sum([0]).AtLeast(1));
    }
}
