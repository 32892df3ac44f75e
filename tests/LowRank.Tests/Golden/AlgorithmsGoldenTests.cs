using System.Globalization;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// One module of every adapter algorithm, read from a file and put on its layer: the change of the weight at strength 1, for DoRA the blend
/// at every strength (what the attached layer gives is held to that by the tests of the kinds). Algorithms that are not built are counted by name.
/// </summary>
public class AlgorithmsGoldenTests
{
    private static readonly string[] Built = ["lora", "locon", "dora", "loha", "lokr"];

    public static IEnumerable<TheoryDataRow<string, string>> Entries()
    {
        foreach (var row in GoldenCase.OfKind("algorithms"))
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var entry in golden.Json.GetProperty("entries").EnumerateArray()) yield return new(row.Data, entry.GetProperty("name").GetString()!);
        }
    }

    [Theory, MemberData(nameof(Entries))]
    public void A_module_of_each_algorithm_reads_to_the_change_of_its_case(string id, string name)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        var entry = golden.Json.GetProperty("entries").EnumerateArray().Single(item => item.GetProperty("name").GetString() == name);
        var algorithm = entry.GetProperty("algorithm").GetString()!;
        if (!Built.Contains(algorithm.Split(' ')[0])) GoldenLedger.SkipNotBuilt(id, $"the algorithm {algorithm}");
        using var folder = new TemporaryFolder();
        var path = folder.Path("one.safetensors");
        using (var all = SafetensorsReader.Open(Path.Combine(golden.Folder, golden.Json.GetProperty("file").GetString()!)))
        {
            var module = entry.GetProperty("module").GetString() + ".";
            SafetensorsWriter.Write(path, all.Tensors.Keys.Where(key => key.StartsWith(module, StringComparison.Ordinal)).Select(key => KeyValuePair.Create(key, all.Read(key))));
        }
        var shape = entry.GetProperty("base_shape").EnumerateArray().Select(size => size.GetInt64()).ToArray();
        using var net = Base(Formula.Weight(entry.GetProperty("base").GetString()!, shape, golden.Json.GetProperty("params").GetProperty("seed").GetInt64()), name);
        using var file = AdapterFile.Open(path);
        using var set = AdapterSet.Load(new Dictionary<string, nn.Module> { ["unet"] = net }, file);
        var layer = Assert.Single(set.Layers);
        var tolerance = golden.Json.GetProperty("tolerance");
        var weight = LayerShape.WeightOf(layer.Module).detach();
        var blends = golden.TensorInfos.Keys.Where(key => key.StartsWith(name + ".lerp@", StringComparison.Ordinal)).ToList();
        if (layer.Kind == AdapterKind.Dora)
        {
            Assert.Equal(4, blends.Count);
            foreach (var key in blends) Close(golden.Tensor(key), weight.Plus(layer.DeltaOn(weight, double.Parse(key[(key.IndexOf('@', StringComparison.Ordinal) + 1)..], CultureInfo.InvariantCulture))), key);
        }
        else Close(golden.Tensor(name + ".diff"), layer.Delta(), name);
        CheckOutput(layer, set, net, weight);

        void Close(Tensor expected, Tensor actual, string label) => TensorAssert.Close(expected, actual, tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble(), label);
    }

    /// <summary>The attached layer gives what the changed weight gives, input-axis DoRA and folded cores included.</summary>
    private static void CheckOutput(AdapterLayer layer, AdapterSet set, nn.Module<Tensor, Tensor> net, Tensor weight)
    {
        long[] size = weight.dim() == 4 ? [2, weight.shape[1], 5, 5] : [3, weight.shape[1]];
        var x = Formula.Noise("x", size, 1);
        set.Strength = 0.7;
        var actual = net.call(x);
        var changed = weight.Plus(layer.Delta().Times(0.7));
        var expected = weight.dim() == 4 ? nn.functional.conv2d(x, changed) : nn.functional.linear(x, changed);
        TensorAssert.Close(expected, actual, 2e-5, 2e-5, layer.Path);
    }

    private static TorchSharp.Modules.Sequential Base(Tensor weight, string name)
    {
        var shape = weight.shape;
        nn.Module<Tensor, Tensor> layer = shape.Length == 4
            ? nn.Conv2d(shape[1], shape[0], (shape[2], shape[3]), bias: false)
            : nn.Linear(shape[1], shape[0], hasBias: false);
        using (no_grad()) LayerShape.WeightOf(layer).copy_(weight);
        foreach (var parameter in layer.parameters()) parameter.requires_grad_(false);
        return nn.Sequential((name, layer));
    }
}
