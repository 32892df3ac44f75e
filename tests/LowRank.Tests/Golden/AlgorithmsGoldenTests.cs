using System.Globalization;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// One module of every adapter algorithm, read from a file and put on its layer: the change at strength 1, the changed weight and bias at every
/// strength that the case has (of DoRA the blend), and that the attached layer gives what the changed layer gives.
/// </summary>
public class AlgorithmsGoldenTests
{
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
        using var folder = new TemporaryFolder();
        var path = folder.Path("one.safetensors");
        using (var all = SafetensorsReader.Open(Path.Combine(golden.Folder, golden.Json.GetProperty("file").GetString()!)))
        {
            var module = entry.GetProperty("module").GetString() + ".";
            SafetensorsWriter.Write(path, all.Tensors.Keys.Where(key => key.StartsWith(module, StringComparison.Ordinal)).Select(key => KeyValuePair.Create(key, all.Read(key))));
        }
        var shape = entry.GetProperty("base_shape").EnumerateArray().Select(size => size.GetInt64()).ToArray();
        using var net = Base(golden, entry, shape);
        using var file = AdapterFile.Open(path);
        using var set = AdapterSet.Load(new Dictionary<string, nn.Module> { ["unet"] = net }, file);
        Assert.Empty(set.Warnings);
        var layer = Assert.Single(set.Layers);
        var compared = golden.TensorInfos.Keys.Where(key => key.StartsWith(name + ".", StringComparison.Ordinal)).Sum(key => Compare(golden, key, key[(name.Length + 1)..], layer));
        Assert.True(compared >= 1, "the case has nothing to compare with");
        foreach (var strength in new[] { 0.7, -0.4, 0.7 }) CheckOutput(layer, set, net, strength);
    }

    /// <summary>One expected tensor; what it is stands behind the name of the entry.</summary>
    /// <returns>1 for a tensor that was compared, 0 for LyCORIS' own rule of DoRA.</returns>
    private static int Compare(GoldenCase golden, string key, string what, AdapterLayer layer)
    {
        var (weight, bias) = (LayerShape.WeightOf(layer.Module).detach(), LayerShape.BiasOf(layer.Module)?.detach());
        var at = what.IndexOf('@', StringComparison.Ordinal);
        var strength = at < 0 ? 1 : double.Parse(what[(at + 1)..], CultureInfo.InvariantCulture);
        var delta = layer.DeltaOn(weight, strength);
        var actual = (at < 0 ? what : what[..at]) switch
        {
            "diff" when layer is LowRank.Adapters.Kinds.DoraLayer dora => dora.Up.flatten(1).mm(dora.Down.flatten(1)).Times(dora.Scale).view(weight.shape),   // its low-rank part alone
            "diff" => delta,
            "merged" or "lerp" or "weight" => weight.Plus(delta),
            "bias" => bias!.Plus(layer.BiasDelta(strength)!),
            "lycoris" => null,
            _ => throw new InvalidOperationException($"{key} is of a sort that this test does not know"),
        };
        if (actual is null) return 0;
        var expected = golden.Tensor(key);
        if (strength == 0)
        {
            // exactly the base; LyCORIS leaves the lengths of an OFT on
            TensorAssert.Equal(weight, actual);
            if (layer.Factors.TryGetValue("rescale", out var lengths)) actual = weight * lengths;
        }
        var tolerance = golden.Json.GetProperty("tolerance");
        TensorAssert.Close(expected, actual, tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble(), key);
        return 1;
    }

    /// <summary>The attached layer gives what the layer with the changed weight and bias gives, input-axis DoRA and folded cores included.</summary>
    private static void CheckOutput(AdapterLayer layer, AdapterSet set, nn.Module<Tensor, Tensor> net, double strength)
    {
        var weight = LayerShape.WeightOf(layer.Module);
        long[] size = layer.Module is TorchSharp.Modules.GroupNorm ? [2, weight.shape[0], 5, 5] : weight.dim() == 4 ? [2, weight.shape[1], 5, 5] : [3, weight.shape[^1]];
        var x = Formula.Noise("x", size, 1);
        set.Strength = strength;
        var attached = net.call(x);
        set.Strength = 0;
        var plain = net.call(x);
        var (was, wasBias) = (weight.detach().clone(), LayerShape.BiasOf(layer.Module)?.detach().clone());
        using var quiet = no_grad();
        weight.AddInPlace(layer.DeltaOn(weight, strength));
        if (layer.BiasDelta(strength) is { } bias) LayerShape.BiasOf(layer.Module)!.AddInPlace(bias);
        TensorAssert.Close(net.call(x), attached, 2e-5, 2e-5, $"{layer.Path} at {strength}");
        weight.copy_(was);
        LayerShape.BiasOf(layer.Module)?.copy_(wasBias!);
        TensorAssert.Equal(plain, net.call(x));
    }

    /// <summary>The layer of the entry in a net of its own.</summary>
    internal static TorchSharp.Modules.Sequential Base(GoldenCase golden, JsonElement entry, long[] shape)
    {
        var hasBias = entry.TryGetProperty("bias", out var bias);
        var name = entry.GetProperty("name").GetString()!;
        nn.Module<Tensor, Tensor> layer = shape switch
        {
            [var channels] when name.EndsWith("group", StringComparison.Ordinal) => nn.GroupNorm(channels % 4 == 0 ? 4 : 2, channels),
            [var channels] => nn.LayerNorm(channels),
            [var outputs, var inputs] => nn.Linear(inputs, outputs, hasBias),
            _ => nn.Conv2d(shape[1], shape[0], (shape[2], shape[3]), bias: hasBias),
        };
        var seed = golden.Json.GetProperty("params").GetProperty("seed").GetInt64();
        using (no_grad())
        {
            LayerShape.WeightOf(layer).copy_(Formula.Weight(entry.GetProperty("base").GetString()!, shape, seed));
            if (hasBias) LayerShape.BiasOf(layer)!.copy_(Formula.Weight(bias.GetString()!, [shape[0]], seed));
        }
        foreach (var parameter in layer.parameters()) parameter.requires_grad_(false);
        return nn.Sequential((name, layer));
    }
}
