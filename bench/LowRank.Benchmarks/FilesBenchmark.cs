using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>Opening, mapping, reading and writing a checkpoint the size of SD 1.5's UNet in 16 bits: 1.7 GB in 686 tensors.</summary>
internal static class FilesBenchmark
{
    private const int Tensors = 686;
    private const int Elements = 1_250_000;

    public static void Run(Report report)
    {
        var folder = Directory.CreateTempSubdirectory("lowrank-bench-").FullName;
        try
        {
            Measure(report, Path.Combine(folder, "model.safetensors"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Measure(Report report, string path)
    {
        using var scope = NewDisposeScope();
        var content = Enumerable.Range(0, Tensors).ToDictionary(i => $"down_blocks.0.layers.{i}.weight", _ => randn(1, Elements).to(ScalarType.BFloat16));
        var writing = Stopwatch.Milliseconds(() => SafetensorsWriter.Write(path, content));
        var gigabytes = new FileInfo(path).Length / 1e9;
        report.Add("write a 1.7 GB safetensors file", $"{gigabytes / writing * 1000:F2} GB/s", "to a temporary file, flushed to the disk, renamed; once");
        foreach (var tensor in content.Values) tensor.Dispose();

        report.Add("open a 1.7 GB safetensors file", $"{Stopwatch.Median(9, () => SafetensorsReader.Open(path).Dispose()):F1} ms", "header of 686 tensors read and validated; median of 9");
        report.Add("open it and map every tensor", $"{Stopwatch.Median(9, () => Map(path, _ => { })):F1} ms", "no copy; page cache warm; median of 9");
        report.Add("open it, map and sum every tensor", $"{Stopwatch.Median(3, () => Map(path, tensor => tensor.sum().Dispose())):F0} ms", "every page touched; median of 3");
        report.Add("open it and load it into modules without memory", $"{Stopwatch.Median(9, () => Load(path)):F1} ms", "Checkpoint.LoadInto, bf16 stays bf16; median of 9");
        var reading = Stopwatch.Median(3, () => Read(path));
        report.Add("read every tensor into fresh memory", $"{gigabytes / reading * 1000:F1} GB/s", "one by one, each freed; median of 3");
    }

    private static void Map(string path, Action<Tensor> use)
    {
        using var reader = SafetensorsReader.Open(path);
        foreach (var name in reader.Tensors.Keys)
        {
            using var tensor = reader.Map(name);
            use(tensor);
        }
    }

    private static void Read(string path)
    {
        using var reader = SafetensorsReader.Open(path);
        foreach (var name in reader.Tensors.Keys) reader.Read(name).Dispose();
    }

    private static void Load(string path)
    {
        using var scope = NewDisposeScope();
        using var checkpoint = Checkpoint.Open(path);
        using var module = new Layers();
        checkpoint.LoadInto(module, name => name[..^".weight".Length].Replace('.', '_') + ".weight", ScalarType.BFloat16);
    }

    private sealed class Layers : nn.Module
    {
        public Layers() : base(nameof(Layers))
        {
            for (var i = 0; i < Tensors; i++) register_module($"down_blocks.0.layers.{i}".Replace('.', '_'), nn.Linear(Elements, 1, hasBias: false, device: META));
        }
    }
}
