using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using static TorchSharp.torch;
using Process = System.Diagnostics.Process;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace LowRank.Benchmarks;

/// <summary>Looking at an adapter of 151 MB: rank 140 in fp16 on the attention and feedforward of SD 1.5 and its text encoder, as sd-scripts names them.</summary>
internal static class InspectBenchmark
{
    private const int Rank = 140, Rounds = 9;

    public static void Run(Report report)
    {
        var folder = Directory.CreateTempSubdirectory("lowrank-bench-").FullName;
        try
        {
            var path = Write(Path.Combine(folder, "adapter.safetensors"));
            var size = $"{new FileInfo(path).Length / 1e6:F0} MB";
            report.Add($"inspect an adapter of {size}: the whole process", $"{Stopwatch.Median(Rounds, () => Start(path)):F0} ms", $"lora inspect FILE; header and alphas; page cache warm; median of {Rounds}");
            report.Add("inspect it in a process that runs", $"{Stopwatch.Median(Rounds, () => InspectAdapter.Run(path).ToString()):F1} ms", $"InspectAdapter.Run; median of {Rounds}");
            report.Add("the start of the program alone", $"{Stopwatch.Median(Rounds, () => Start()):F0} ms", $"lora --help; median of {Rounds}");
            report.Add("inspect it whole: the whole process", $"{Stopwatch.Median(3, () => Start(path, "--full")):F0} ms", "lora inspect FILE --full: hash, norms, every number looked at; median of 3");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Write(string path)
    {
        using var scope = NewDisposeScope();
        using var outline = ModelOutline.Of(PublishedModel.All[0]);
        var names = new ModuleNames(outline.Components);
        var tensors = new Dictionary<string, Tensor>();
        foreach (var layer in names.Layers.Where(layer => !layer.Shape.IsConvolution && (layer.Component != "unet" || layer.Path.Contains("attn", StringComparison.Ordinal) || layer.Path.Contains(".ff.", StringComparison.Ordinal))))
        {
            var name = names.Kohya(layer.Component, layer.Path);
            tensors[name + ".lora_down.weight"] = randn(Rank, layer.Shape.Inputs).to(ScalarType.Float16);
            tensors[name + ".lora_up.weight"] = randn(layer.Shape.Outputs, Rank).to(ScalarType.Float16);
            tensors[name + ".alpha"] = tensor((float)Rank / 2).to(ScalarType.Float16);
        }
        SafetensorsWriter.Write(path, tensors, new Dictionary<string, string> { ["ss_base_model_version"] = "sd_v1" });
        return path;
    }

    private static void Start(params string[] arguments)
    {
        var program = Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "..", "src", "LowRank.Cli", "bin", "Release", "net10.0", "lora.dll");
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true };
        string[] words = arguments.Length == 0 ? [program, "--help"] : [program, "inspect", .. arguments];
        foreach (var word in words) start.ArgumentList.Add(word);
        using var process = Process.Start(start)!;
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"lora ended with {process.ExitCode}; build it first: dotnet build -c Release src/LowRank.Cli");
    }
}
