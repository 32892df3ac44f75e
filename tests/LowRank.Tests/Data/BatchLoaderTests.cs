using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Tests.Images;

namespace LowRank.Tests.Data;

public class BatchLoaderTests
{
    [Fact]
    public void Batches_hold_the_pixels_of_their_samples_in_the_order_planned()
    {
        using var folder = new DataFolder();
        for (var i = 0; i < 7; i++) folder.Picture($"{i}.png", 80, 64, "a, b", seed: i);
        var images = folder.Read(options => options with { Crop = CropMode.Random, Flip = true, ShuffleTags = true }).Images;
        List<Batch> Run(int ahead)
        {
            using var streams = new RandomStreams(5);
            var sampler = new BatchSampler(images, new SamplerOptions { BatchSize = 3, MaxSteps = 10 }, streams);
            using var loader = new BatchLoader(sampler.Next, ahead);
            return [.. Enumerable.Range(0, 8).Select(_ => loader.Next()!)];
        }
        var slow = Run(1);
        var fast = Run(4);
        Assert.Equal(slow.SelectMany(batch => batch.Pixels), fast.SelectMany(batch => batch.Pixels));
        Assert.Equal(slow.SelectMany(batch => batch.Captions), fast.SelectMany(batch => batch.Captions));
        foreach (var batch in slow)
        {
            using var pixels = batch.ToTensor();
            Assert.Equal([batch.Samples.Count, 3, batch.Size.Height, batch.Size.Width], pixels.shape);
            for (var i = 0; i < batch.Samples.Count; i++)
            {
                using var alone = pixels[i];
                var planes = alone.data<float>().ToArray();
                var picture = ResizeCrop.Load(File.ReadAllBytes(batch.Samples[i].Image.Path), batch.Samples[i].Placement);
                Assert.Equal(picture.Pixels, PixelTensor.ToImage(planes, batch.Size).Pixels);
                Assert.All(PixelTensor.ToPlanes(picture).Zip(planes), item => Assert.Equal(item.First, item.Second, 1e-6f));
            }
        }
    }

    [Fact]
    public void All_samples_for_the_cache_come_once_and_then_the_end()
    {
        using var folder = new DataFolder().Picture("a.png", 64, 64, "a").Picture("same.png", 64, 64, "b").Picture("c.png", 90, 40, "c", seed: 2);
        var data = TrainingData.Read([folder.Options with { Flip = true }], 64, heldOutShare: 0, TestContext.Current.CancellationToken);
        var samples = data.FixedSamples();
        Assert.Equal(4, samples.Count);   // two different pictures, each also mirrored
        var queue = new Queue<PlannedBatch>(samples.GroupBy(sample => sample.Placement.Size).Select(group => new PlannedBatch([.. group], null)));
        using var loader = new BatchLoader(() => queue.TryDequeue(out var plan) ? plan : null);
        Assert.Equal(2, loader.Next()!.Samples.Count);
        Assert.Equal(2, loader.Next()!.Samples.Count);
        Assert.Null(loader.Next());
        var random = TrainingData.Read([folder.Options with { Crop = CropMode.Random }], 64, heldOutShare: 0, TestContext.Current.CancellationToken);
        Assert.Equal("pictures that are cut at random cannot be encoded ahead", Assert.Throws<InvalidOperationException>(() => random.FixedSamples()).Message);
    }

    [Fact]
    public void A_file_that_changed_is_an_error_with_its_name()
    {
        using var folder = new DataFolder().Picture("a.png", caption: "a");
        var image = folder.Read().Images[0];
        File.WriteAllBytes(image.Path, Samples.Png()[..100]);
        var plan = new PlannedBatch([new Sample(image, image.Centre(false), "a")], null);
        using var loader = new BatchLoader(() => plan);
        var message = folder.Hide(Assert.Throws<DatasetException>(loader.Next).Message);
        Assert.Equal($"picture changed after it was checked: FOLDER{Path.DirectorySeparatorChar}a.png\n  the file ends before the picture does: an unfinished copy or download", message);
    }
}
