using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>
/// Extracting at rank 32 from differences of the shapes of Stable Diffusion 1.5's UNet: eight directions that fade above noise in all directions, as
/// fine-tuning leaves them. Some shapes by both ways; all layers randomized, and exact by what those shapes took.
/// </summary>
internal static class ExtractBenchmark
{
    private const int Rank = 32;

    private static readonly string[] Compared =
    [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj", "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_q", "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
        "down_blocks.0.resnets.0.conv1", "down_blocks.1.resnets.1.conv1", "mid_block.resnets.0.conv1",
    ];

    public static void Run(Report report)
    {
        using var generator = new Generator(1);
        using var outline = ModelOutline.Of(PublishedModel.All[0]);
        var layers = new ModuleNames(outline.Components).Layers.Where(layer => layer is { Component: "unet", Shape.IsNorm: false }).ToList();
        var rates = new List<double>();
        foreach (var layer in Compared.Select(path => layers.Single(layer => layer.Path == path))) rates.Add(Compare(report, layer, generator));
        var (auto, exact) = (0.0, 0.0);
        foreach (var layer in layers)
        {
            using var scope = NewDisposeScope();
            var difference = Difference(layer, generator);
            auto += Time(layer, difference, SvdMethod.Auto, generator).Milliseconds;
            exact += Work(difference) * rates[^1];
        }
        report.Add($"all {layers.Count} layers of the UNet, --method auto", $"{auto / 1000:F1} s", "decomposition, cutting, rounding and measuring; without reading");
        report.Add("the same, --method exact, estimated", $"{exact / 1000:F0} s", "m · n · min(m, n) of every layer at the rate of the last shape above");
    }

    private static double Compare(Report report, ModelLayer layer, Generator generator)
    {
        using var scope = NewDisposeScope();
        var difference = Difference(layer, generator);
        Time(layer, difference, SvdMethod.Randomized, generator);   // the first one loads code
        var (random, exact) = (Time(layer, difference, SvdMethod.Randomized, generator), Time(layer, difference, SvdMethod.Exact, generator));
        report.Add($"{difference.shape[0]} × {difference.shape[1]}", $"{random.Milliseconds:F1} ms randomized, {exact.Milliseconds:F0} ms exact",
            FormattableString.Invariant($"error {random.Error:F6} and {exact.Error:F6} of ‖ΔW‖: {random.Error / exact.Error:F5} times; once"));
        return exact.Milliseconds / Work(difference);
    }

    private static (double Milliseconds, double Error) Time(ModelLayer layer, Tensor difference, SvdMethod method, Generator generator)
    {
        using var scope = NewDisposeScope();
        var extractor = new LayerExtractor(new ExtractOptions { Base = "", Tuned = "", Output = "", Rank = Rank, Method = method }, ScalarType.Float16, generator);
        var error = 0.0;
        return (Stopwatch.Milliseconds(() => error = extractor.Extract(layer, difference).Error), error);
    }

    private static double Work(Tensor difference) => (double)difference.numel() * Math.Min(difference.shape[0], difference.shape[1]);

    private static Tensor Difference(ModelLayer layer, Generator generator)
    {
        using var scope = NewDisposeScope();
        var (rows, columns) = (layer.Shape.Outputs, layer.Shape.Weight.Skip(1).Aggregate(1L, (a, b) => a * b));
        var fading = tensor(Enumerable.Range(0, 8).Select(place => (float)Math.Pow(0.7, place)).ToArray());
        var directions = randn([rows, 8], ScalarType.Float32, generator: generator).mul(fading).mm(randn([8, columns], ScalarType.Float32, generator: generator));
        return randn([rows, columns], ScalarType.Float32, generator: generator).MultiplyInPlace(0.2).AddInPlace(directions).MultiplyInPlace(1e-3).MoveToOuterDisposeScope();
    }
}
