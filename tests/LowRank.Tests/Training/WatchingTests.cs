using LowRank.Diffusion;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

public sealed class WatchingTests
{
    [Fact]
    public void The_error_of_a_picture_is_free_of_the_weights_that_its_loss_has()
    {
        using var scope = NewDisposeScope();
        var (schedule, noise) = (new NoiseSchedule(new NoiseScheduleOptions()), ones(2, 4, 8, 8));
        using var conditioning = new Conditioning { Hidden = zeros(2, 7, 8) };
        var loss = new DenoisingLoss(schedule, PredictionType.Epsilon, new LossWeighting { MinSnrGamma = 0.1 }, (noisy, _, _) => zeros_like(noisy));
        var scored = loss.Of(zeros(2, 4, 8, 8), conditioning, noise, [10, 300], ["a", "b"], new BatchExtras { Weights = [0.5f, 1] });
        Assert.Equal([("a", 10L, 1f), ("b", 300L, 1f)], scored.Uses!.Select(use => (use.Picture, use.Timestep, use.Error)));
        Assert.All(scored.PerItem, weighted => Assert.True(weighted < 0.9f));
    }

    [Theory, InlineData(0, 0), InlineData(99, 0), InlineData(100, 1), InlineData(550, 5), InlineData(999, 9)]
    public void A_timestep_lies_in_one_of_ten_ranges(long timestep, int bin) => Assert.Equal(bin, TimestepBins.Of(timestep));

    [Fact]
    public void Ranges_are_named_so_that_names_sort_as_their_numbers()
    {
        var names = Enumerable.Range(0, TimestepBins.Count).Select(TimestepBins.Name).ToList();
        Assert.Equal(["000-099", "500-599", "900-999"], [names[0], names[5], names[9]]);
        Assert.Equal(names, names.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_error_of_a_range_is_the_mean_of_its_uses_and_unknown_where_there_are_none()
    {
        var means = TimestepBins.Means([new("a", 0, 1), new("b", 99, 3), new("a", 950, 0.5f)]);
        Assert.Equal([2, 0.5], [means[0], means[9]]);
        Assert.All(means[1..9], mean => Assert.True(double.IsNaN(mean)));
    }

    [Fact]
    public void A_smoothed_range_starts_at_its_first_error_and_follows_later_ones()
    {
        var bins = new SmoothedBins();
        Assert.Equal([(0, 2.0), (9, 4.0)], bins.Add([new("a", 10, 2), new("b", 910, 4)]).Select(item => (item.Bin, Math.Round(item.Error, 9))));
        var (bin, error) = Assert.Single(bins.Add([new("a", 10, 1)]));
        Assert.Equal(0, bin);
        Assert.Equal((0.02 * 0.98 * 2 + 0.02 * 1) / (1 - 0.98 * 0.98), error, 9);
    }

    [Fact]
    public void A_picture_that_only_met_hard_timesteps_is_not_called_hard()
    {
        // "unlucky" has the largest errors, but no larger than others at its timesteps; "odd" is twice as far off as others at theirs
        PictureUse[] uses = [new("unlucky", 50, 10), new("plain", 50, 10), new("odd", 950, 0.2f), new("plain", 950, 0.1f), new("unlucky", 950, 0.1f)];
        var pictures = PictureDifficulty.Of(uses);
        Assert.Equal(["odd", "plain", "unlucky"], pictures.Select(picture => picture.Picture));
        Assert.Equal(0.2 / (0.4 / 3), pictures[0].Relative, 5);
        Assert.Equal((1 + 0.1 / (0.4 / 3)) / 2, pictures[1].Relative, 5);
        Assert.Equal([1, 2, 2], pictures.Select(picture => picture.Uses));
        Assert.Equal(5.05, pictures[2].Error, 5);
    }
}
