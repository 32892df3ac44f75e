using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Testing;

namespace LowRank.Tests.Data;

public class BatchSamplerTests
{
    private static readonly DataSetOptions Lively = new()
    {
        Folder = "none",
        Flip = true,
        Crop = CropMode.Random,
        ShuffleTags = true,
        TagDropout = 0.2,
        CaptionDropout = 0.1,
    };

    private static List<TrainingImage> Images(int count, DataSetOptions options, int repeats = 1) =>
        [.. Enumerable.Range(0, count).Select(index => new TrainingImage
        {
            Path = $"{index}.png",
            ContentHash = FormulaPicture.Sha256([(byte)index]),
            Caption = $"first, second, third, picture {index}",
            Size = new PixelSize(80, 70),
            Choice = new BucketChoice(index % 3 == 0 ? new PixelSize(64, 64) : new PixelSize(72, 56), new PixelSize(74, 65)),
            Repeats = repeats,
            Options = options,
        })];

    private static SamplerOptions Of(int batchSize) => new() { BatchSize = batchSize, MaxSteps = 100 };

    private static List<string> Draw(BatchSampler sampler, int batches) =>
        [.. Enumerable.Range(0, batches).Select(_ => string.Join(" | ", sampler.Next().Samples.Select(sample => $"{sample.Key} {sample.Caption}")))];

    [Fact]
    public void An_epoch_uses_every_picture_as_often_as_it_is_repeated_and_never_mixes_buckets()
    {
        using var streams = new RandomStreams(7);
        var images = Images(10, new DataSetOptions { Folder = "none" }, repeats: 3);   // 4 of one bucket, 6 of the other
        var sampler = new BatchSampler(images, Of(4), streams);
        Assert.Equal(3 + 5, sampler.BatchesPerEpoch);
        for (var epoch = 1; epoch <= 3; epoch++)
        {
            var batches = Enumerable.Range(0, sampler.BatchesPerEpoch).Select(_ => sampler.Next()).ToList();
            Assert.All(batches, batch => Assert.Single(batch.Samples.Select(sample => sample.Placement.Size).Distinct()));
            Assert.All(batches.SelectMany(batch => batch.Samples).CountBy(sample => sample.Image.Path), item => Assert.Equal(3, item.Value));
            Assert.Equal(10, batches.SelectMany(batch => batch.Samples).Select(sample => sample.Image.Path).Distinct().Count());
            Assert.All(batches, batch => Assert.Equal(epoch, batch.State!.Epoch));
        }
    }

    [Fact]
    public void The_same_seed_gives_the_same_batches_and_another_gives_others()
    {
        using var first = new RandomStreams(7);
        using var second = new RandomStreams(7);
        using var other = new RandomStreams(8);
        var expected = Draw(new BatchSampler(Images(10, Lively), Of(4), first), 20);
        Assert.Equal(expected, Draw(new BatchSampler(Images(10, Lively), Of(4), second), 20));
        Assert.NotEqual(expected, Draw(new BatchSampler(Images(10, Lively), Of(4), other), 20));
        Assert.Equal(20, expected.Distinct().Count());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]   // the last batch of an epoch
    [InlineData(4)]
    [InlineData(9)]
    public void A_restored_sampler_goes_on_with_the_same_draws(int drawnBefore)
    {
        using var streams = new RandomStreams(7);
        var sampler = new BatchSampler(Images(10, Lively), Of(4), streams);
        Draw(sampler, drawnBefore);
        var state = sampler.Save();
        var expected = Draw(sampler, 12);

        using var others = new RandomStreams(99);   // nothing of its own seed may matter
        var restored = new BatchSampler(Images(10, Lively), Of(4), others);
        Draw(restored, 2);
        restored.Restore(state);
        Assert.Equal(expected, Draw(restored, 12));
    }

    [Fact]
    public void The_state_of_a_batch_drawn_ahead_is_where_that_batch_left_the_sampler()
    {
        using var streams = new RandomStreams(7);
        var sampler = new BatchSampler(Images(10, Lively), Of(4), streams);
        var third = Enumerable.Range(0, 3).Select(_ => sampler.Next()).Last();
        var expected = Draw(sampler, 6);
        sampler.Restore(third.State!);
        Assert.Equal(expected, Draw(sampler, 6));
    }

    [Fact]
    public void Flips_and_random_cuts_cover_what_they_may()
    {
        using var streams = new RandomStreams(7);
        var sampler = new BatchSampler(Images(3, Lively with { Crop = CropMode.Random }), Of(1), streams);
        var samples = Enumerable.Range(0, 600).SelectMany(_ => sampler.Next().Samples).Where(sample => sample.Placement.Size.Width == 64).ToList();
        Assert.Equal(Enumerable.Range(0, 11), samples.Select(sample => sample.Placement.Left).Distinct().Order());   // 74 - 64 and 0
        Assert.Equal([0, 1], samples.Select(sample => sample.Placement.Top).Distinct().Order());
        Assert.InRange(samples.Count(sample => sample.Placement.Flip), 70, 130);
        using var still = new RandomStreams(7);
        var centred = new BatchSampler(Images(3, new DataSetOptions { Folder = "none" }), Of(1), still);
        Assert.All(Enumerable.Range(0, 9).SelectMany(_ => centred.Next().Samples), sample => Assert.Equal((sample.Image.Choice.CentreCrop, false), ((sample.Placement.Left, sample.Placement.Top), sample.Placement.Flip)));
    }

    [Fact]
    public void Epochs_count_from_one_and_steps_count_accumulated_batches()
    {
        using var streams = new RandomStreams(7);
        var dropping = new BatchSampler(Images(3, new DataSetOptions { Folder = "none", CaptionDropoutEveryEpochs = 2 }), Of(3), streams);
        Assert.Equal(2, dropping.BatchesPerEpoch);
        Assert.Equal([false, false, true, true, false, false], Enumerable.Range(0, 6).Select(_ => dropping.Next().Samples.All(sample => sample.Caption.Length == 0)));
        using var others = new RandomStreams(7);
        var warming = new BatchSampler(Images(1, new DataSetOptions { Folder = "none", TokenWarmupSteps = 3 }), new SamplerOptions { BatchSize = 1, Accumulation = 2, MaxSteps = 9 }, others);
        Assert.Equal([1, 1, 2, 2, 3, 3, 4, 4], Enumerable.Range(0, 8).Select(_ => warming.Next().Samples[0].Caption.Split(", ").Length));
    }

    [Fact]
    public void Keys_tell_pixels_apart_and_nothing_else()
    {
        var image = Images(2, Lively)[0];
        var sample = new Sample(image, image.Centre(flip: false), "a");
        Assert.Equal(sample.Key, (sample with { Caption = "b", Image = image with { Path = "elsewhere.png", Repeats = 9 } }).Key);
        Assert.Equal($"{image.ContentHash[..32]}-74x65-5.0-64x64", sample.Key);
        Assert.Equal(sample.Key + "-flip", (sample with { Placement = image.Centre(flip: true) }).Key);
    }

    [Fact]
    public void Sampling_leaves_no_tensors_behind()
    {
        using var streams = new RandomStreams(7);
        var sampler = new BatchSampler(Images(10, Lively), Of(4), streams);
        LeakGuard.AssertNothingLeft(() =>
        {
            var state = sampler.Next().State!;
            Draw(sampler, 5);
            sampler.Restore(state);
        });
    }

    [Fact]
    public void Draws_are_even()
    {
        using var streams = new RandomStreams(3);
        var draws = new StreamDraws(streams["shuffle"]);
        var first = Enumerable.Range(0, 3000).Select(_ => draws.Permutation(3)).CountBy(order => string.Concat(order)).ToList();
        Assert.Equal(6, first.Count);
        Assert.All(first, item => Assert.InRange(item.Value, 400, 600));
        Assert.All(Enumerable.Range(0, 3000).Select(_ => draws.Choice(4)).CountBy(choice => choice), item => Assert.InRange(item.Value, 650, 850));
        Assert.Empty(draws.Permutation(0));
    }
}
