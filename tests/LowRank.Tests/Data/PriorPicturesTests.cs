using LowRank.Data;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Data;

public sealed class PriorPicturesTests : IDisposable
{
    private readonly DataFolder pictures = new(), priors = new();

    public void Dispose()
    {
        pictures.Dispose();
        priors.Dispose();
    }

    [Fact]
    public void Prior_pictures_become_as_many_as_the_others_and_the_report_says_which_are_not_needed()
    {
        pictures.Picture("a.png").Picture("b.png");
        foreach (var name in "pqrst") priors.Picture($"{name}.png");
        var data = Read(repeats: 2);
        Assert.Equal(["a.png 2", "b.png 2", "p.png 1", "q.png 1", "r.png 1", "s.png 1"], data.Images.Select(image => $"{Path.GetFileName(image.Path)} {image.Repeats}"));
        Assert.Contains("  warning: 1 of 5 prior pictures are not needed: there are as many without them as of the other pictures", data.Report.Lines());
        data = Read(repeats: 4);
        Assert.Equal([4, 4, 2, 2, 2, 1, 1], data.Images.Select(image => image.Repeats));
        Assert.DoesNotContain(data.Report.Lines(), line => line.Contains("warning", StringComparison.Ordinal));
    }

    [Fact]
    public void Paired_batches_are_half_prior_pictures_which_go_round()
    {
        pictures.Picture("a.png").Picture("b.png").Picture("c.png");
        priors.Picture("p.png").Picture("q.png");
        var data = Read(repeats: 1);
        using var streams = new RandomStreams(3);
        var sampler = new BatchSampler(data.Images, new SamplerOptions { BatchSize = 4, MaxSteps = 10, PairPriors = true }, streams);
        Assert.Equal(2, sampler.BatchesPerEpoch);
        for (var epoch = 0; epoch < 3; epoch++)
        {
            var batches = Enumerable.Range(0, 2).Select(_ => sampler.Next().Samples).OrderBy(samples => samples.Count).ToList();
            Assert.Equal([[false, true], [false, false, true, true]], batches.Select(samples => samples.Select(sample => sample.Image.Options.Prior)));
            Assert.Equal(["a.png", "b.png", "c.png"], batches.SelectMany(samples => samples).Where(sample => !sample.Image.Options.Prior).Select(sample => Path.GetFileName(sample.Image.Path)).Order());
            Assert.Equal(["p.png", "p.png", "q.png"], batches.SelectMany(samples => samples).Where(sample => sample.Image.Options.Prior).Select(sample => Path.GetFileName(sample.Image.Path)).Order());
            Assert.Equal(epoch + 1, sampler.Save().Epoch);
        }
    }

    [Fact]
    public void A_bucket_without_prior_pictures_cannot_be_paired()
    {
        pictures.Picture("a.png").Picture("wide.png", 128, 32);
        priors.Picture("p.png");
        Assert.Equal("""
            prior_rule = "two-means" needs prior pictures in every bucket; there are none in 128×32
              try         buckets = false in every [[data]] table, more prior pictures, or prior_rule = "per-sample"
            """.ReplaceLineEndings("\n"), Assert.Throws<DatasetException>(() => Read(repeats: 1).RequirePriorsInEveryBucket()).Message);
    }

    [Theory]
    [InlineData(PriorRule.PerSample, new[] { false, false, false, true }, new[] { 1f, 1f, 1f, 0.5f })]
    [InlineData(PriorRule.TwoMeans, new[] { false, false, false, true }, new[] { 4 / 3f, 4 / 3f, 4 / 3f, 2f })]
    [InlineData(PriorRule.TwoMeans, new[] { false, false }, new[] { 1f, 1f })]
    [InlineData(PriorRule.TwoMeans, new[] { true, true }, new[] { 0.5f, 0.5f })]
    public void Items_are_weighed_by_their_rule(PriorRule rule, bool[] prior, float[] expected) =>
        Assert.Equal(expected, new LossOptions { PriorRule = rule, PriorLossWeight = 0.5 }.ItemWeights([.. prior.Select(_ => 1.0)], prior));

    [Fact]
    public void What_prior_pictures_need_is_asked_for_before_a_run()
    {
        TrainLoraOptions Options(bool first, bool second) => new()
        {
            Model = "icons-64",
            Output = "out",
            Data = [pictures.Options with { Prior = first }, priors.Options with { Prior = second }],
            Loss = new LossOptions { PriorRule = PriorRule.TwoMeans },
        };
        Assert.Equal(["training.batch_size: 1; must be even with loss.prior_rule = \"two-means\": half of a batch is prior pictures"], Options(false, true).Validate());
        Assert.Equal("data: every set has prior = true; add one with the pictures to learn", Options(true, true).Validate()[0]);
        Assert.Equal("loss.prior_loss_weight, loss.prior_rule: do nothing without prior pictures: [prior], or a [[data]] table with prior = true", Options(false, false).Validate()[0]);
    }

    private TrainingData Read(int repeats) =>
        TrainingData.Read([pictures.Options with { Repeats = repeats, Caption = "x" }, priors.Options with { Prior = true, Caption = "y" }], 64, heldOutShare: 0, TestContext.Current.CancellationToken);
}
