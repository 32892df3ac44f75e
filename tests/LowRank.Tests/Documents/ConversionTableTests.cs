using System.Globalization;
using System.Text;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Golden;
using static TorchSharp.torch;

namespace LowRank.Tests.Documents;

/// <summary>The table of docs/adapter-formats.md: one adapter from each convention to each other and back, and how far the change of the weights is off.</summary>
public sealed class ConversionTableTests : IDisposable
{
    private static readonly (string Name, WrittenConvention To, string File)[] Forms =
    [
        ("kohya", WrittenConvention.Kohya, "x.safetensors"),
        ("PEFT", WrittenConvention.Peft, "x"),
        ("diffusers", WrittenConvention.Diffusers, "x.safetensors"),
        ("diffusers 2023", WrittenConvention.DiffusersOld, "x.safetensors"),
        ("attn-procs", WrittenConvention.AttnProcs, "x.safetensors"),
        ("LyCORIS", WrittenConvention.Lycoris, "x.safetensors"),
        ("2022 package", WrittenConvention.Legacy, "x.safetensors"),
        ("2022 lists", WrittenConvention.Legacy, "x.pt"),
    ];

    private readonly TemporaryFolder folder = new();
    private int count;

    public void Dispose() => folder.Dispose();

    /// <summary>Writes the table to <c>conversions.md</c> beside the test program, which is how the page came by it.</summary>
    [Fact]
    public void The_page_shows_how_far_each_way_is_off()
    {
        var table = new StringBuilder();
        foreach (var (type, bound) in new[] { (SavePrecision.Fp32, 1e-6), (SavePrecision.Fp16, 1e-2) }) table.Append(Table(type, bound)).Append('\n');
        var text = table.ToString().TrimEnd();
        File.WriteAllText(Path.Combine(AppContext.BaseDirectory, "conversions.md"), text);
        Assert.Contains(text, File.ReadAllText(Path.Combine(Repository.Root, "docs", "adapter-formats.md")).ReplaceLineEndings("\n"), StringComparison.Ordinal);
    }

    private string Table(SavePrecision type, double bound)
    {
        using var golden = GoldenCase.Open("adapters/sd1_delta");
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        var model = ModelFolder.Write(folder, golden.Json.GetProperty("params"));
        var first = folder.Path("first.safetensors");
        Source(first, models);
        var text = new StringBuilder($"| {type.ToString().ToLowerInvariant()} from \\ to | {string.Join(" | ", Forms.Select(form => form.Name))} |\n|{string.Concat(Forms.Select(_ => " --- |"))} --- |\n");
        foreach (var from in Forms)
        {
            var source = Convert(first, from, type, model);
            var expected = ConversionTests.Deltas(source.Files, models);
            var cells = Forms.Select(to =>
            {
                var there = Convert(Whole(source, from), to, null, model);
                var back = Convert(Whole(there, to), from, null, model);
                var (off, offBack) = (Off(expected, there.Files, models), Off(expected, back.Files, models));
                Assert.InRange(Math.Max(off, offBack), 0, bound);
                return $"{InWords(off)} / {InWords(offBack)}";
            });
            text.Append(CultureInfo.InvariantCulture, $"| {from.Name} | {string.Join(" | ", cells)} |\n");
            foreach (var delta in expected.Values) delta.Dispose();
        }
        return text.ToString();
    }

    /// <summary>Rank 3 and alpha 2 on every projection of an attention, which is what all conventions hold; 2/3 is no number of any type.</summary>
    private static void Source(string path, AdapterModels models)
    {
        using var scope = NewDisposeScope();
        var names = new ModuleNames(models);
        var layers = names.Layers.Where(layer => layer.Path.Contains(".attn1.") || layer.Path.Contains(".attn2.") || layer.Path.Contains(".self_attn."));
        SafetensorsWriter.Write(path, layers.SelectMany(layer =>
        {
            var name = names.Kohya(layer.Component, layer.Path);
            return new KeyValuePair<string, Tensor>[]
            {
                new($"{name}.lora_down.weight", Formula.Noise(name + "a", layer.Shape.Down(3), 1)),
                new($"{name}.lora_up.weight", Formula.Noise(name + "b", layer.Shape.Up(3), 2)),
                new($"{name}.alpha", tensor(2f)),
            };
        }));
    }

    private ConvertReport Convert(string input, (string Name, WrittenConvention To, string File) to, SavePrecision? type, string model) =>
        ConvertAdapter.Run(new ConvertOptions { Input = input, Output = Path.Combine(folder.Path($"{count++}", "-")[..^2], to.File), To = to.To, Precision = type, Model = model });

    /// <summary>What stands for all files of an adapter; lists have none, so that their first part goes on alone.</summary>
    private static string Whole(ConvertReport report, (string Name, WrittenConvention To, string File) form) =>
        form.To == WrittenConvention.Peft && report.Files.Count > 1 ? Path.GetDirectoryName(Path.GetDirectoryName(report.Files[0]))! : report.Files[0];

    /// <summary>The largest difference of any ΔW, as a share of that ΔW's largest number; of the parts that were converted.</summary>
    private static double Off(Dictionary<string, Tensor> expected, IEnumerable<string> files, AdapterModels models)
    {
        using var scope = NewDisposeScope();
        var actual = ConversionTests.Deltas(files, models);
        Assert.All(actual.Keys, name => Assert.Contains(name, expected.Keys));
        Assert.Contains(actual.Keys, name => name.StartsWith("unet.", StringComparison.Ordinal));
        return actual.Max(item => (item.Value - expected[item.Key]).abs().max().item<float>() / (double)expected[item.Key].abs().max().item<float>());
    }

    private static string InWords(double error) => error == 0 ? "0" : string.Create(CultureInfo.InvariantCulture, $"<1e{Math.Floor(Math.Log10(error)) + 1:F0}");
}
