using System.Diagnostics;
using System.Globalization;
using LowRank.Adapters;
using LowRank.Families;
using LowRank.Families.Original;
using LowRank.Foundation;
using LowRank.Recipes;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>
/// Merging into a checkpoint of one file with the tensors of a published model, fp16, numbers by chance: time against copying the file, and memory.
/// Each merge is a process of its own, as it is for users; the time is that of the merge in it, the peak the kernel's (VmHWM).
/// </summary>
internal static class MergeBenchmark
{
    /// <summary>The first argument of a process that merges: MODEL OUT ADAPTER....</summary>
    public const string Child = "merge-once";

    private const int Runs = 3, Many = 8;

    /// <param name="report">Gets the rows.</param>
    /// <param name="name">sd15 or sdxl.</param>
    public static void Run(Report report, string name)
    {
        var folder = Directory.CreateTempSubdirectory("lowrank-bench-").FullName;
        try
        {
            Measure(report, PublishedModel.All.First(model => model.Name == name), folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Measure(Report report, PublishedModel published, string folder)
    {
        string At(string name) => Path.Combine(folder, name);
        Make(published, At("model.safetensors"));
        for (var i = 0; i < Many; i++) MakeAdapter(published, At($"{i}.safetensors"), 4, i);
        MakeAdapter(published, At("large.safetensors"), 128, 99);
        var size = new FileInfo(At("model.safetensors")).Length / 1e9;
        var what = Invariant($"{published.Title} shapes, fp16, one file of {size:F2} GB");
        var times = new Dictionary<string, List<double>>();
        double adapters1 = 0, adapters8 = 0, large = 0;
        for (var round = 0; round <= Runs; round++)
        {
            Time("copy", () => Timed(() => File.Copy(At("model.safetensors"), At("out.safetensors"))));
            Time("copy and flush", () => Timed(() => Copy(At("model.safetensors"), At("out.safetensors"))));
            adapters1 = Time("one adapter", () => Merge(1));
            adapters8 = Time($"{Many} adapters", () => Merge(Many));
            large = Time("rank 128", () => MergeFiles("large.safetensors"));

            double Time(string which, Func<(double Seconds, double Peak)> action)
            {
                var (seconds, peak) = action();
                if (round > 0) (times.TryGetValue(which, out var list) ? list : times[which] = []).Add(seconds);   // the first round fills the page cache
                File.Delete(At("out.safetensors"));
                return peak;
            }
        }
        double Median(string which) => times[which].Order().ElementAt(Runs / 2);
        report.Add($"{what}: copying it", $"{Median("copy"):F2} s; {Median("copy and flush"):F2} s until it is on the disk", $"page cache warm; median of {Runs}, in turn with those below");
        report.Add($"{what}: merging an adapter of rank 4", $"{Median("one adapter"):F2} s, {Median("one adapter") / Median("copy and flush"):F2} × copying until it is on the disk; {adapters1:F2} GiB", "MergeAdapters, flushed to the disk; attention and feed-forward of UNet and text encoders");
        report.Add($"{what}: merging {Many} adapters of rank 4", $"{Median($"{Many} adapters"):F2} s; {adapters8:F2} GiB", "in one pass");
        report.Add($"{what}: merging an adapter of rank 128", $"{Median("rank 128"):F2} s; {large:F2} GiB", "the same layers");

        (double, double) Merge(int count) => MergeFiles([.. Enumerable.Range(0, count).Select(i => $"{i}.safetensors")]);

        (double, double) MergeFiles(params string[] files)
        {
            var start = new ProcessStartInfo(Environment.ProcessPath!, [.. Environment.ProcessPath!.EndsWith("dotnet", StringComparison.Ordinal) ? new[] { typeof(MergeBenchmark).Assembly.Location } : [], Child, At("model.safetensors"), At("out.safetensors"), .. files.Select(At)]) { RedirectStandardOutput = true };
            using var child = Process.Start(start)!;
            var numbers = child.StandardOutput.ReadToEnd().Split(' ').Select(number => double.Parse(number, CultureInfo.InvariantCulture)).ToArray();
            child.WaitForExit();
            return (numbers[0], numbers[1]);
        }

        static (double, double) Timed(Action action) => (Stopwatch.Milliseconds(action) / 1000, 0);
    }

    /// <summary>Merges, and prints seconds and GiB.</summary>
    public static int RunChild(string[] arguments)
    {
        var seconds = Stopwatch.Milliseconds(() => MergeAdapters.Run(new MergeOptions { Model = arguments[0], Output = arguments[1], Adapters = [.. arguments[2..].Select(file => new AdapterUse(file, 0.5))] })) / 1000;
        Console.Write(Invariant($"{seconds} {Peak()}"));
        return 0;
    }

    /// <summary>GiB.</summary>
    private static double Peak()
    {
        var line = File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        return double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) / (1 << 20);
    }

    /// <summary>As a merge writes: by pieces, then flushed.</summary>
    private static void Copy(string from, string to)
    {
        using var source = File.OpenHandle(from);
        using var target = File.OpenHandle(to, FileMode.CreateNew, FileAccess.Write, preallocationSize: RandomAccess.GetLength(source));
        var piece = new byte[1 << 20];
        for (long at = 0; RandomAccess.Read(source, piece, at) is var count and > 0; at += count) RandomAccess.Write(target, piece.AsSpan(0, count), at);
        RandomAccess.FlushToDisk(target);
    }

    private static void Make(PublishedModel published, string path)
    {
        var parts = published.Parts.ToDictionary(part => part.Name, part => part.Class);
        var layout = OriginalLayout.For(parts.Keys, published.Name.StartsWith("sd2", StringComparison.Ordinal));
        var tensors = new List<StreamedTensor>();
        foreach (var part in layout.Parts)
        {
            using var module = ModelCheck.Outline(parts[part], published.File($"{part}/config.json"), published.Name)!;
            var shapes = module.state_dict().ToDictionary(item => item.Key, item => item.Value.shape);
            var names = layout.NamesOf(part, shapes.Keys);
            foreach (var group in shapes.Select(item => (Place: names.Of(item.Key), Shape: item.Value)).Where(item => item.Place is not null).GroupBy(item => item.Place!.Name))
            {
                var (place, shape) = (group.First().Place!, group.First().Shape);
                long[] original = place.Turn switch { Turn.Third => [3 * shape[0], .. shape[1..]], Turn.Transposed => [.. shape.Reverse()], Turn.Convolution => [.. shape, 1, 1], _ => shape };
                tensors.Add(StreamedTensor.Made(group.Key, StoredType.F16, original, () => randn(original).MultiplyInPlace(0.02).to(ScalarType.Float16)));
            }
        }
        SafetensorsWriter.Write(path, tensors, null, workers: 1, CancellationToken.None);
    }

    private static void MakeAdapter(PublishedModel published, string path, int rank, int seed)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var outline = ModelOutline.Of(published);
        using var init = new Generator((ulong)seed);
        using var set = AdapterSet.Create(outline.Components, new AdapterOptions { Rank = rank, Targets = ["attention+feedforward"] }, init, CPU);
        foreach (var layer in set.Layers) layer.Factors["up"].normal_(0, 0.01, init);
        AdapterWriter.Write(path, set);
    }
}
