using System.Globalization;
using LowRank.Adapters;
using LowRank.Families;
using LowRank.Recipes;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>
/// Switching adapters and changing strengths on a model of the published configuration of SD 1.5, weights random: two adapters of rank 4 on all that sd-scripts
/// trains by default (192 layers of the UNet, 72 of the text encoder).
/// </summary>
internal static class StudioBenchmark
{
    private const int Runs = 21;

    public static void Run(Report report)
    {
        var folder = Directory.CreateTempSubdirectory("lowrank-bench-").FullName;
        try
        {
            Measure(report, folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Measure(Report report, string folder)
    {
        foreach (var file in (string[])["model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "vae/config.json", "text_encoder/config.json"])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(folder, file))!);
            File.WriteAllBytes(Path.Combine(folder, file), PublishedModel.All.Single(model => model.Name == "sd15").File(file));
        }
        using var family = FamilyDetector.OpenToMake(folder, ScalarType.BFloat16, widen: false, () => new Dictionary<string, long> { ["heart"] = 1 });
        using var generator = new Generator(1);
        foreach (var component in family.ComponentNames) family.DrawWeights(component, generator);
        var files = Enumerable.Range(0, 2).Select(number => Write(family, folder, generator, number)).ToList();

        using var studio = Studio.Over(family, "sd15");
        report.Add("the first adapter on a model: every layer's names in every convention are made too", $"{Stopwatch.Milliseconds(() => studio.Load(files[0], "0")):F1} ms", "once");
        var now = 0;
        var size = new FileInfo(files[0]).Length / 1e6;
        var layers = studio.Adapters[0].LayerCount;
        report.Add("switch to an adapter that is read from its file", $"{Stopwatch.Median(Runs, () => { studio.Unload($"{now}"); now = 1 - now; studio.Load(files[now], $"{now}"); }):F1} ms",
            string.Create(CultureInfo.InvariantCulture, $"rank 4, fp16, {size:F1} MB, {layers} layers, file in the page cache: the other one off, this one read, checked and put on; median of {Runs}"));
        studio.Load(files[1 - now], $"{1 - now}");
        report.Add("switch between two that are loaded", $"{Stopwatch.Median(Runs, () => { now = 1 - now; studio.Switch($"{now}"); }):F2} ms", $"median of {Runs}");
        var adapter = studio[$"{now}"];
        report.Add("change a strength", $"{Stopwatch.Median(Runs, () => { for (var i = 0; i < 1000; i++) adapter.Strength = 1.5 - adapter.Strength; }) * 1000:F1} ns", $"mean of 1000; median of {Runs}");
        var strength = 0.0;
        report.Add("change a strength by part and for all 26 blocks", $"{Stopwatch.Median(Runs, () => { strength += 0.01; adapter.Parts = new Dictionary<string, double> { ["text_encoder"] = strength }; adapter.Blocks = [.. studio.BlockNames.Select(_ => strength)]; }):F2} ms", $"median of {Runs}");
    }

    /// <summary>An adapter with random numbers in all its factors.</summary>
    private static string Write(Diffusion.IDiffusionFamily family, string folder, Generator generator, int number)
    {
        var path = Path.Combine(folder, $"{number}.safetensors");
        using var quiet = no_grad();
        using var adapter = AdapterSet.Create(family.ComponentNames.ToDictionary(name => name, family.Component), new() { Rank = 4, Targets = ["unet:**.attentions.**", "text_encoder:**"] }, generator, CPU);
        using var values = randn(adapter.FlatParameters.shape, generator: generator);
        adapter.FlatParameters.copy_(values);
        AdapterWriter.Write(path, adapter);
        return path;
    }
}
