using LowRank.Data;
using LowRank.Images;
using NetVips;

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
        report.Add("libvips alone: decode a 1024×768 JPEG, resize to 640×480", $"{libvips:F2} ms", "bytes in memory out; 1,000 files, median of 3 rounds, one caller");
        report.Add($"file to training pixels: decode, resize, cut {samples[0].Placement.Size}, float planes in [-1, 1]", $"{path:F2} ms", "BatchLoader.Load, batch 1; same files, rounds in turns");
        report.Add("ratio of the two", $"{path / libvips:F2}", "all pixel loops are libvips'; the rest is the float picture, 4 times the bytes");

        var batches = samples.Chunk(8).Select(chunk => new PlannedBatch(chunk, null)).ToList();
        var loaded = PerPicture(() =>
        {
            var queue = new Queue<PlannedBatch>(batches);
            using var loader = new BatchLoader(() => queue.TryDequeue(out var plan) ? plan : null);
            while (loader.Next() is not null) { }
        });
        report.Add("the same by the loader, batches of 8", $"{loaded:F2} ms", "a picture, two batches ahead on pool threads");
        var scan = PerPicture(() => ImageFolder.Read(options, nativeResolution: 512));
        report.Add("check a data set before training", $"{scan:F2} ms", "a picture: read, hash, decode to the end");
    }

    private static double PerPicture(Action action)
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();
        action();
        return watch.Elapsed.TotalMilliseconds / Pictures;
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
