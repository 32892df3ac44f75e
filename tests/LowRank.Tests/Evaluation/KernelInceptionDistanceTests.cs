using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Evaluation;

public class KernelInceptionDistanceTests
{
    private static Tensor Features(string name, int count, int dimension = 6, double shift = 0) => Formula.Noise(name, [count, dimension], 5).Plus(shift);

    [Fact]
    public void A_seed_draws_the_same_subsets_again_and_another_seed_draws_others()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 20), Features("generated", 24, shift: 0.3));
        var first = KernelInceptionDistance.OverSubsets(real, generated, subsets: 4, size: 10, seed: 1);
        Assert.Equal(first.PerSubset, KernelInceptionDistance.OverSubsets(real, generated, subsets: 4, size: 10, seed: 1).PerSubset);
        Assert.NotEqual(first.PerSubset, KernelInceptionDistance.OverSubsets(real, generated, subsets: 4, size: 10, seed: 2).PerSubset);
        Assert.Equal(4, first.PerSubset.Distinct().Count());
    }

    [Fact]
    public void More_subsets_leave_the_first_ones_as_they_were()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 20), Features("generated", 24));
        var few = KernelInceptionDistance.OverSubsets(real, generated, subsets: 2, size: 10, seed: 1);
        var many = KernelInceptionDistance.OverSubsets(real, generated, subsets: 5, size: 10, seed: 1);
        Assert.Equal(few.PerSubset, many.PerSubset.Take(2));
    }

    [Fact]
    public void A_subset_draws_no_picture_twice()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 12), Features("generated", 12, shift: 0.3));
        var whole = KernelInceptionDistance.OverSubsets(real, generated, subsets: 3, size: 12, seed: 3);
        Assert.All(whole.PerSubset, value => Assert.Equal(KernelInceptionDistance.Of(real, generated), value, 1e-12));
    }

    [Fact]
    public void Pictures_of_one_caption_are_not_compared_with_each_other()
    {
        using var scope = NewDisposeScope();
        var real = Features("real", 7);
        var drawn = cat([real, Features("generated", 7, shift: 0.3)], 1).view(14, 6);   // two for each, the first of them the real one itself
        Assert.Equal(ByHand(Rows(real), Rows(drawn[..7]), copies: 1), KernelInceptionDistance.Paired(real, drawn[..7], copies: 1), 1e-9);
        Assert.Equal(ByHand(Rows(real), Rows(drawn), copies: 2), KernelInceptionDistance.Paired(real, drawn, copies: 2), 1e-9);

        static double[][] Rows(Tensor features) => [.. features.to(ScalarType.Float64).data<double>().ToArray().Chunk((int)features.size(1))];
        static double Kernel(double[] a, double[] b) => Math.Pow(a.Zip(b, (one, other) => one * other).Sum() / a.Length + 1, 3);
        static double ByHand(double[][] x, double[][] y, int copies)
        {
            var within = from i in Enumerable.Range(0, x.Length) from j in Enumerable.Range(0, x.Length) where i != j select Kernel(x[i], x[j]);
            var among = from i in Enumerable.Range(0, y.Length) from j in Enumerable.Range(0, y.Length) where i / copies != j / copies select Kernel(y[i], y[j]);
            var between = from i in Enumerable.Range(0, x.Length) from j in Enumerable.Range(0, y.Length) where i != j / copies select Kernel(x[i], y[j]);
            return within.Average() + among.Average() - 2 * between.Average();
        }
    }

    [Fact]
    public void Sets_larger_than_what_is_held_at_once_give_the_sum_over_all_pairs()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 1500, dimension: 3), Features("generated", 1100, dimension: 3, shift: 0.5));
        var (x, y) = (real.to(ScalarType.Float64), generated.to(ScalarType.Float64));
        double MeanOf(Tensor a, Tensor b) => a.matmul(b.t()).Over(3).Plus(1).Power(3).mean().item<double>();
        Assert.Equal(MeanOf(x, x) + MeanOf(y, y) - 2 * MeanOf(x, y), KernelInceptionDistance.Of(real, generated, KidEstimator.Biased), 1e-9);
    }

    [Fact]
    public void Nothing_that_was_made_outlives_the_answer()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 12), Features("generated", 12));
        LeakGuard.AssertNothingLeft(() => KernelInceptionDistance.OverSubsets(real, generated, subsets: 2, size: 5, seed: 1));
    }

    [Fact]
    public void A_subset_larger_than_a_set_is_refused()
    {
        using var scope = NewDisposeScope();
        var problem = Assert.Throws<ArgumentException>(() => KernelInceptionDistance.OverSubsets(Features("real", 20), Features("generated", 9), subsets: 2, size: 10, seed: 1));
        Assert.Equal("a subset of 10 cannot be drawn from 20 real and 9 generated features (Parameter 'size')", problem.Message);
    }

    [Fact]
    public void A_single_picture_is_refused()
    {
        using var scope = NewDisposeScope();
        var problem = Assert.Throws<ArgumentException>(() => KernelInceptionDistance.Of(Features("real", 1), Features("generated", 9)));
        Assert.Equal("KID needs 2 features of each set, there are 1 and 9 (Parameter 'real')", problem.Message);
    }

    [Fact]
    public void Pictures_that_were_not_drawn_for_these_are_refused()
    {
        using var scope = NewDisposeScope();
        var problem = Assert.Throws<ArgumentException>(() => KernelInceptionDistance.Paired(Features("real", 8), Features("generated", 9), copies: 1));
        Assert.Equal("generated has shape [9,6], expected (8,6): axis 0 is 9, not 8 (Parameter 'generated')", problem.Message);
    }

    [Fact]
    public void Features_of_two_widths_are_refused()
    {
        using var scope = NewDisposeScope();
        var problem = Assert.Throws<ArgumentException>(() => KernelInceptionDistance.Of(Features("real", 8), Features("generated", 8, dimension: 4)));
        Assert.Equal("generated has shape [8,4], expected (n,6): axis 1 is 4, not 6 (Parameter 'generated')", problem.Message);
    }
}
