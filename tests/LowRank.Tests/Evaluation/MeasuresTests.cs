using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Evaluation;

public class MeasuresTests
{
    private static Tensor Features(string name, int count, int dimension = 6, double shift = 0) => Formula.Noise(name, [count, dimension], 5).Plus(shift);

    [Fact]
    public void Nothing_that_was_made_outlives_a_measure()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 12), Features("generated", 12));
        var few = real[..5];
        var picture = new RgbImage(new PixelSize(16, 16), FormulaPicture.Of("ssim", 16, 16, 3, 1));
        LeakGuard.AssertNothingLeft(() => FrechetInceptionDistance.Of(real, generated));
        LeakGuard.AssertNothingLeft(() => FrechetInceptionDistance.Of(few, generated));
        LeakGuard.AssertNothingLeft(() => PrecisionRecall.Of(real, generated, 3));
        LeakGuard.AssertNothingLeft(() => Cmmd.Of(real, generated));
        LeakGuard.AssertNothingLeft(() => ClipScores.Cosines(real, generated));
        LeakGuard.AssertNothingLeft(() => ClipScores.ImageAlignment(real, generated));
        LeakGuard.AssertNothingLeft(() => ClipScores.Directional(real, generated, generated, real));
        LeakGuard.AssertNothingLeft(() => VendiScore.Of(real));
        LeakGuard.AssertNothingLeft(() => StructuralSimilarity.Of(picture, picture));
    }

    [Fact]
    public void Sets_larger_than_what_is_held_at_once_overlap_as_counted_pair_by_pair()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 1300, dimension: 3), Features("generated", 1100, dimension: 3, shift: 0.4));
        var (x, y) = (real.to(ScalarType.Float64), generated.to(ScalarType.Float64));
        Tensor Distances(Tensor a, Tensor b) => (a.unsqueeze(1) - b.unsqueeze(0)).Squared().sum(2);
        Tensor Radii(Tensor a) => Distances(a, a).sort(1).Values.select(1, 4);
        var between = Distances(x, y);
        var inReal = between.lt(Radii(x).unsqueeze(1));
        double Share(Tensor any) => any.to(ScalarType.Float64).mean().item<double>();
        var wanted = new Overlap(Share(inReal.any(0)), Share(between.lt(Radii(y)).any(1)), inReal.sum().item<long>() / (4.0 * 1100), Share(inReal.any(1)));
        Assert.Equal(wanted, PrecisionRecall.Of(real, generated, 4));
        Assert.InRange(wanted.Precision, 0.1, 0.99);
    }

    [Fact]
    public void A_CLIP_discrepancy_of_large_sets_is_the_mean_over_all_pairs()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 1200, dimension: 3), Features("generated", 1030, dimension: 3, shift: 0.4));
        Tensor Unit(Tensor a) => a.to(ScalarType.Float64) / a.to(ScalarType.Float64).norm(1, keepdim: true);
        double Mean(Tensor a, Tensor b) => (a.unsqueeze(1) - b.unsqueeze(0)).Squared().sum(2).Over(-200).exp().mean().item<double>();
        var (x, y) = (Unit(real), Unit(generated));
        Assert.Equal(1000 * (Mean(x, x) + Mean(y, y) - 2 * Mean(x, y)), Cmmd.Of(real, generated), 1e-9);
    }

    [Fact]
    public void The_two_routes_to_the_Frechet_distance_agree_where_features_are_many()
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (Features("real", 1100), Features("generated", 1200, shift: 0.2));
        Assert.Equal(FrechetInceptionDistance.OfFew(real, generated), FrechetInceptionDistance.Of(real, generated), 1e-9);
    }

    [Fact]
    public void Too_few_pictures_for_the_neighbours_are_refused()
    {
        using var scope = NewDisposeScope();
        var problem = Assert.Throws<ArgumentException>(() => PrecisionRecall.Of(Features("real", 20), Features("generated", 5), neighbours: 5));
        Assert.Equal("a feature of 20 real and 5 generated ones cannot have 5 neighbours in its own set (Parameter 'neighbours')", problem.Message);
    }

    [Fact]
    public void A_single_picture_has_no_covariance()
    {
        using var scope = NewDisposeScope();
        var problem = Assert.Throws<ArgumentException>(() => FrechetInceptionDistance.Of(Features("real", 20), Features("generated", 1)));
        Assert.Equal("FID needs 2 features of each set, there are 20 and 1 (Parameter 'real')", problem.Message);
        using var statistics = GaussianStatistics.Of(Features("real", 1));
        Assert.Equal("a covariance needs 2 features, there are 1", Assert.Throws<InvalidOperationException>(statistics.Covariance).Message);
    }

    [Fact]
    public void A_feature_of_zeros_has_no_direction()
    {
        using var scope = NewDisposeScope();
        var problem = Assert.Throws<ArgumentException>(() => VendiScore.Of(cat([Features("real", 4), zeros(1, 6)])));
        Assert.Equal("1 of 5 features are all zeros and have no direction (Parameter 'features')", problem.Message);
    }

    [Fact]
    public void Vendi_counts_different_pictures_whichever_matrix_is_smaller()
    {
        using var scope = NewDisposeScope();
        var three = eye(3).repeat(4, 1);   // four copies of three directions
        Assert.Equal(3, VendiScore.Of(three), 1e-9);
        Assert.Equal(3, VendiScore.Of(cat([three[..3], zeros(3, 5)], 1)), 1e-9);
        Assert.Equal(1, VendiScore.Of(ones(4, 3)), 1e-9);
    }

    [Fact]
    public void Pictures_of_two_sizes_are_not_compared_pixel_by_pixel()
    {
        var (first, second) = (Grey(new PixelSize(16, 12)), Grey(new PixelSize(12, 16)));
        Assert.Equal("pictures of 16×12 and 12×16 cannot be compared pixel by pixel (Parameter 'second')", Assert.Throws<ArgumentException>(() => StructuralSimilarity.Of(first, second)).Message);
        Assert.Equal("pictures of 16×12 and 12×16 cannot be compared pixel by pixel (Parameter 'second')", Assert.Throws<ArgumentException>(() => StructuralSimilarity.PeakSignalToNoise(first, second)).Message);
        Assert.Equal("a picture of 10×16 is smaller than the window of 11×11 (Parameter 'first')", Assert.Throws<ArgumentException>(() => StructuralSimilarity.Of(Grey(new PixelSize(10, 16)), Grey(new PixelSize(10, 16)))).Message);
    }

    private static RgbImage Grey(PixelSize size) => new(size, [.. Enumerable.Repeat((byte)90, (int)size.Pixels * 3)]);
}
