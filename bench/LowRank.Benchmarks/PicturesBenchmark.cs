using LowRank.Data;
using LowRank.Images;
using NetVips;
using TorchSharp;

namespace LowRank.Benchmarks;

/// <summary>A thousand JPEGs from 1024×768 to training pixels at 512 px, against libvips alone on the same files.</summary>
internal static class PicturesBenchmark
{
    private const int Pictures = 1000;

    public static void Run(Report report)
    {
        var folder = Directory.CreateTempSubdirectory("lowrank-bench-").FullName;
        try
        {
            for (var i = 0; i < Pictures; i++) WriteJpeg(Path.Combine(folder, $"{i:0000}.jpg"), i);
            Measure(report, folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Measure(Report report, string folder)
    {
        var options = new DataSetOptions { Folder = folder, Caption = "a picture", Resolution = 512 };
        var images = ImageFolder.Read(options, nativeResolution: 512).Images;   // also warms the page cache
        var samples = images.Select(image => new Sample(image, image.Centre(flip: false), image.Caption)).ToList();
        var size = samples[0].Placement.Resized;

        // in turns, so that a busy machine is busy for both
        var (bare, ours) = (new List<double>(), new List<double>());
        for (var round = 0; round < 3; round++)
        {
            bare.Add(PerPicture(() => samples.ForEach(sample => Bare(sample.Image.Path, size))));
            ours.Add(PerPicture(() => samples.ForEach(sample => BatchLoader.Load(new PlannedBatch([sample], null)))));
        }
        var (libvips, path) = (bare.Order().ElementAt(1), ours.Order().ElementAt(1));
        report.Add($"libvips alone: decode a 1024×768 JPEG, resize to {size}", $"{libvips:F2} ms", "processor time of all threads; bytes in memory out; 1,000 files, median of 3 rounds");
        report.Add($"a loader thread: check the header, decode, resize, cut {samples[0].Placement.Size}", $"{path:F2} ms", "BatchLoader.Load, batch 1; same files, rounds in turns");
        report.Add("ratio of the two", $"{path / libvips:F2}", "no pixel loop of ours in between");

        var batches = samples.Chunk(8).Select(chunk => new PlannedBatch(chunk, null)).ToList();
        var loaded = PerPicture(() =>
        {
            var queue = new Queue<PlannedBatch>(batches);
            using var loader = new BatchLoader(() => queue.TryDequeue(out var plan) ? plan : null);
            while (loader.Next() is not null) { }
        });
        report.Add("the same by the loader, batches of 8", $"{loaded:F2} ms", "a picture, two batches ahead on pool threads");
        var threads = torch.get_num_threads();
        torch.set_num_threads(1);   // waiting OpenMP threads would count as processor time
        var batch = BatchLoader.Load(batches[0]);
        var birth = PerPicture(() => batches.ForEach(_ => batch.ToTensor().Dispose()));
        torch.set_num_threads(threads);
        report.Add("bytes to a tensor in [-1, 1] on the training thread", $"{birth:F2} ms", "Batch.ToTensor, batches of 8, one thread");
        var scan = PerPicture(() => ImageFolder.Read(options, nativeResolution: 512));
        report.Add("check a data set before training", $"{scan:F2} ms", "a picture: read, hash, decode to the end");
    }

    /// <summary>Processor time of all threads, which other programs on the machine do not stretch as they do the clock's.</summary>
    private static double PerPicture(Action action)
    {
        var before = Environment.CpuUsage.TotalTime;
        action();
        return (Environment.CpuUsage.TotalTime - before).TotalMilliseconds / Pictures;
    }

    private static void Bare(string path, PixelSize size)
    {
        using var image = Image.NewFromFile(path, access: Enums.Access.Sequential);
        using var resized = image.Resize((double)size.Width / image.Width, vscale: (double)size.Height / image.Height, kernel: Enums.Kernel.Lanczos3);
        _ = resized.WriteToMemory<byte>();
    }

    /// <summary>Waves and noise: about as many bytes as a photograph of this size.</summary>
    private static void WriteJpeg(string path, int seed)
    {
        using var noise = Image.Gaussnoise(1024, 768, sigma: 25, mean: 128, seed: seed);
        using var waves = Image.Sines(1024, 768, hfreq: 3 + seed % 7, vfreq: 2 + seed % 5) * 80;
        using var grey = noise + waves;
        using var turned = grey.FlipHor();
        using var colours = grey.Bandjoin(turned, noise);
        using var picture = colours.Cast(Enums.BandFormat.Uchar);
        using var marked = picture.Copy(interpretation: Enums.Interpretation.Srgb);
        marked.Jpegsave(path, q: 90);
    }
}
