using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Modules of every algorithm between the conventions that hold them all: parameters are renamed, never computed.</summary>
public sealed class ConvertedKindsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory, MemberData(nameof(AlgorithmsGoldenTests.Entries), MemberType = typeof(AlgorithmsGoldenTests))]
    public void A_module_of_each_algorithm_goes_from_kohya_to_LyCORIS_and_back_to_the_bit(string id, string name)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        var entry = golden.Json.GetProperty("entries").EnumerateArray().Single(item => item.GetProperty("name").GetString() == name);
        var one = folder.Path("one.safetensors");
        using (var all = SafetensorsReader.Open(Path.Combine(golden.Folder, golden.Json.GetProperty("file").GetString()!)))
        {
            var module = entry.GetProperty("module").GetString() + ".";
            SafetensorsWriter.Write(one, all.Tensors.Keys.Where(key => key.StartsWith(module, StringComparison.Ordinal)).Select(key => KeyValuePair.Create(key, all.Read(key))));
        }
        using var file = AdapterFile.Open(one);
        using var net = AlgorithmsGoldenTests.Base(golden, entry, [.. entry.GetProperty("base_shape").EnumerateArray().Select(size => size.GetInt64())]);
        var names = new ModuleNames(new Dictionary<string, nn.Module> { ["unet"] = net });
        if (entry.GetProperty("module").GetString()!.StartsWith("oft_", StringComparison.Ordinal))
        {
            var message = Assert.Throws<CheckpointException>(() => new AdapterConversion(file, WrittenConvention.Lycoris, null).Run(() => names)).Message;
            Assert.Contains("OFT of sd-scripts, which its name alone tells from LyCORIS' own", message, StringComparison.Ordinal);
            return;
        }
        var lycoris = Write(new AdapterConversion(file, WrittenConvention.Lycoris, null).Run(() => names), "lycoris.safetensors");
        using var there = AdapterFile.Open(lycoris);
        Assert.Equal(WrittenConvention.Lycoris, FileForms.Of(there));
        using var source = SafetensorsReader.Open(one);
        using var back = SafetensorsReader.Open(Write(new AdapterConversion(there, WrittenConvention.Kohya, null).Run(() => names), "back.safetensors"));
        Assert.Equal(source.Tensors.Values.Select(info => $"{info.Name} {info.Type} {Shapes.Show(info.Shape)}"), back.Tensors.Values.Select(info => $"{info.Name} {info.Type} {Shapes.Show(info.Shape)}"));
        foreach (var key in source.Tensors.Keys) Assert.Equal(source.ReadBytes(key), back.ReadBytes(key));
    }

    private string Write(ConvertedAdapter adapter, string name)
    {
        var part = Assert.Single(adapter.Parts);
        SafetensorsWriter.Write(folder.Path(name), part.Tensors, part.Metadata);
        return folder.Path(name);
    }
}
