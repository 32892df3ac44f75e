using System.Text.Json;
using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Every adapter file of the cases in every convention: the same change of every weight, or a refusal that names what has no place.</summary>
public sealed class ConversionTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>Every adapter of every case: (case, file, convention).</summary>
    public static IEnumerable<TheoryDataRow<string, string, WrittenConvention>> Targets() =>
        Files().SelectMany(file => Enum.GetValues<WrittenConvention>().Select(to => new TheoryDataRow<string, string, WrittenConvention>(file.Data.Item1, file.Data.Item2, to)));

    /// <summary>Every adapter of every case: (case, file).</summary>
    public static IEnumerable<TheoryDataRow<string, string>> Files()
    {
        foreach (var row in GoldenCase.OfKind("same_delta"))
        {
            using var golden = GoldenCase.Open(row.Data);
            if (!golden.Json.TryGetProperty("files", out var files)) continue;
            foreach (var file in files.EnumerateArray().Where(file => file.GetProperty("modules") is not { ValueKind: JsonValueKind.Array } list || list.GetArrayLength() > 0)) yield return new(row.Data, file.GetProperty("file").GetString()!);
        }
    }

    [Theory, MemberData(nameof(Targets))]
    public void A_converted_file_changes_every_weight_as_its_source_does(string id, string name, WrittenConvention to)
    {
        using var golden = GoldenCase.Open(id);
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        var input = Path.Combine(golden.Folder, name);
        var options = new ConvertOptions { Input = input, Output = Output(to), To = to, Model = ModelFolder.Write(folder, golden.Json.GetProperty("params")) };
        var expected = Deltas(input, models);
        if (!Holds(to, expected.Keys))
        {
            var message = Assert.Throws<CheckpointException>(() => ConvertAdapter.Run(options)).Message;
            Assert.StartsWith($"the adapter is not converted to {to.InWords()} keys: ", message);
            Assert.Equal([folder.Path("model")], Directory.GetFileSystemEntries(folder.FullName));
            return;
        }
        var report = ConvertAdapter.Run(options);
        // one value that no type of the file holds exactly: alpha / sqrt(rank)
        var exact = !name.Contains("patterns", StringComparison.Ordinal);
        Compare(expected, Deltas(report.Files, models), exact ? 0 : 1e-6, keep: true);
        using (var source = AdapterFile.Open(input))
        {
            // PEFT's root stands for the adapters of all parts, a list for the others of its stem
            var whole = to == WrittenConvention.Peft ? Path.Combine(folder.FullName, "out") : report.Files[0];
            var back = FileForms.Of(source) ?? WrittenConvention.Kohya;
            var again = ConvertAdapter.Run(new ConvertOptions { Input = whole, Output = folder.Path("back" + (back == WrittenConvention.Peft ? "" : ".safetensors")), To = back, Model = options.Model });
            Compare(expected, Deltas(again.Files, models), exact ? 0 : 1e-6);
        }
        Assert.All(report.Files.Where(file => !Path.GetFileName(file).StartsWith("out-", StringComparison.Ordinal)), file => Assert.True(IsOf(file, to), file));
    }

    [Theory, MemberData(nameof(Files))]
    public void A_file_that_is_of_the_convention_already_passes_to_the_bit(string id, string name)
    {
        using var golden = GoldenCase.Open(id);
        var input = Path.Combine(golden.Folder, name);
        using var source = AdapterFile.Open(input);
        if (FileForms.Of(source) is not { } to || (to == WrittenConvention.Peft && !File.Exists(Path.Combine(Path.GetDirectoryName(source.Path)!, "adapter_config.json")))) return;
        var report = ConvertAdapter.Run(new ConvertOptions { Input = input, Output = source.IsList ? folder.Path(Path.GetFileName(name)) : Output(to), To = to });
        Assert.Empty(report.Changes.Except(source.Warnings));
        Assert.Null(report.Base);
        using var written = AdapterFile.Open(Assert.Single(report.Files));
        Assert.Equal(source.Metadata.OrderBy(item => item.Key, StringComparer.Ordinal), written.Metadata.OrderBy(item => item.Key, StringComparer.Ordinal));
        Assert.Equal(Infos(source), Infos(written));
        using var scope = NewDisposeScope();
        foreach (var info in source.Tensors) Assert.True(source.Read(info.Name).bytes.SequenceEqual(written.Read(info.Name).bytes), info.Name);
        if (to == WrittenConvention.Peft) Assert.Equal(Config(source), Config(written));

        static IEnumerable<string> Infos(AdapterFile file) => file.Tensors.Select(info => $"{info.Name} {info.Type} {Shapes.Show(info.Shape)}").Order(StringComparer.Ordinal);

        static string Config(AdapterFile file) => File.ReadAllText(Path.Combine(Path.GetDirectoryName(file.Path)!, "adapter_config.json"));
    }

    private string Output(WrittenConvention to) => to == WrittenConvention.Peft ? Path.Combine(folder.FullName, "out") : Path.Combine(folder.FullName, "out.safetensors");

    /// <summary>What each convention has keys for, from what is known of it rather than from what converts.</summary>
    private static bool Holds(WrittenConvention to, IEnumerable<string> modules) => to switch
    {
        WrittenConvention.DiffusersOld or WrittenConvention.AttnProcs => modules.All(name => IsText(name) ? name.Contains(".self_attn.") : name.Contains(".attn1.") || name.Contains(".attn2.")),
        WrittenConvention.Legacy => modules.All(name => IsText(name) ? name.Contains(".self_attn.") : name.Contains(".attn1.") || name.Contains(".attn2.") || name.EndsWith(".ff.net.0.proj", StringComparison.Ordinal) || name.Contains(".resnets.")),
        // the names of two text encoders, flattened without the encoder's own, coincide
        WrittenConvention.Lycoris => !modules.Any(name => name.StartsWith("text_encoder_2.", StringComparison.Ordinal)),
        _ => true,
    };

    private static bool IsText(string name) => name.StartsWith("text_encoder", StringComparison.Ordinal);

    private static bool IsOf(string path, WrittenConvention to)
    {
        using var file = AdapterFile.Open(path);
        return FileForms.Of(file) == to || (to == WrittenConvention.DiffusersOld && FileForms.Of(file) == WrittenConvention.AttnProcs)   // without a text encoder they are the same
            || (to == WrittenConvention.DiffusersOld && file.Modules.All(module => FileForms.Of(module) == FileForm.LoraLayers));
    }

    internal static Dictionary<string, Tensor> Deltas(string path, AdapterModels models) => Deltas([path], models);

    /// <summary>ΔW of every module that any of the files has, by <c>component.path</c>; modules that change nothing are left out.</summary>
    internal static Dictionary<string, Tensor> Deltas(IEnumerable<string> paths, AdapterModels models)
    {
        var deltas = new Dictionary<string, Tensor>();
        foreach (var path in paths)
        {
            using var file = AdapterFile.Open(path);
            if (file.Modules.Count == 0) continue;
            var part = Path.GetFileName(Path.GetDirectoryName(path)!);
            using var adapter = AdapterSet.Load(models.TryGetValue(part, out var own) ? new Dictionary<string, nn.Module> { [part] = own } : models, file);
            foreach (var layer in adapter.Layers)
            {
                var delta = layer.Delta();
                if (delta.IsNotEqualTo(0).any().item<bool>()) deltas.Add($"{layer.Component}.{layer.Path}", delta);
                else delta.Dispose();
            }
        }
        return deltas;
    }

    internal static void Compare(Dictionary<string, Tensor> expected, Dictionary<string, Tensor> actual, double relative, bool keep = false)
    {
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), actual.Keys.Order(StringComparer.Ordinal));
        foreach (var (name, delta) in expected)
        {
            var largest = delta.abs().max().item<float>();
            TensorAssert.Close(delta, actual[name], 0, relative * largest, name);
            if (!keep) delta.Dispose();
            actual[name].Dispose();
        }
    }
}
