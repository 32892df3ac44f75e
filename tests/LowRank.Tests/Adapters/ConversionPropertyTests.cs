using CsCheck;
using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Tests.Golden;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

/// <summary>Any adapter of any ranks, alphas and modules, through any chain of conventions: the same change of every weight.</summary>
public sealed class ConversionPropertyTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_chain_of_conversions_changes_no_delta()
    {
        using var golden = GoldenCase.Open("adapters/sd1_delta");
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        var names = new ModuleNames(models);
        // modules: rank, alpha in quarters (0: none written), at random; a bit for each of the conventions on the way
        var adapters = Gen.Select(Gen.Select(Gen.Int[0, names.Layers.Count - 1], Gen.Int[1, 5], Gen.Int[0, 12]).Array[1, 8], Gen.Enum<WrittenConvention>().Array[1, 4]);
        adapters.Sample((modules, chain) =>
        {
            using var scope = NewDisposeScope();
            var path = folder.Path("0.safetensors");
            var chosen = modules.DistinctBy(module => module.Item1).Select(module => (Layer: names.Layers[module.Item1], Rank: module.Item2, Alpha: module.Item3 / 4.0)).ToList();
            SafetensorsWriter.Write(path, chosen.SelectMany(module => Parameters(names, module.Layer, module.Rank, module.Alpha)));
            var expected = ConversionTests.Deltas(path, models);
            var parts = new List<string> { path };
            foreach (var to in chain)
            {
                if (!chosen.TrueForAll(module => Holds(to, module.Layer))) continue;
                parts = [.. parts.SelectMany(part => Convert(part, to, names))];
            }
            var actual = ConversionTests.Deltas(parts, models);
            Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), actual.Keys.Order(StringComparer.Ordinal));
            foreach (var (name, delta) in expected) TensorAssert.Close(delta, actual[name], 0, 1e-6 * delta.abs().max().item<float>(), $"{name} through {string.Join(", ", chain)}");
        }, iter: 300, threads: 1);
    }

    private static IEnumerable<KeyValuePair<string, Tensor>> Parameters(ModuleNames names, ModelLayer layer, int rank, double alpha)
    {
        var name = names.Kohya(layer.Component, layer.Path);
        yield return new($"{name}.lora_down.weight", Formula.Noise(name + "a", layer.Shape.Down(rank), rank));
        yield return new($"{name}.lora_up.weight", Formula.Noise(name + "b", layer.Shape.Up(rank), rank));
        if (alpha > 0) yield return new($"{name}.alpha", tensor((float)alpha));
    }

    /// <summary>One step, without a file of the model: parts of PEFT and lists in folders of their own.</summary>
    private IEnumerable<string> Convert(string input, WrittenConvention to, ModuleNames names)
    {
        using var file = AdapterFile.Open(input);
        var converted = new AdapterConversion(file, to, null).Run(() => names);
        foreach (var part in converted.Parts)
        {
            var path = folder.Path($"{Guid.NewGuid():N}", part.Component ?? "all", part.Config is null ? "x.safetensors" : "adapter_model.safetensors");
            SafetensorsWriter.Write(path, part.Tensors, part.Metadata);
            if (part.Config is not null) File.WriteAllText(Path.Combine(Path.GetDirectoryName(path)!, "adapter_config.json"), part.Config);
            yield return path;
        }
    }

    private static bool Holds(WrittenConvention to, ModelLayer layer) => to switch
    {
        WrittenConvention.DiffusersOld or WrittenConvention.AttnProcs => IsAttention(layer),
        WrittenConvention.Legacy => IsAttention(layer) || layer.Path.EndsWith(".ff.net.0.proj", StringComparison.Ordinal) || layer.Path.Contains(".resnets."),
        _ => true,
    };

    private static bool IsAttention(ModelLayer layer) => layer.Path.Contains(".attn1.") || layer.Path.Contains(".attn2.") || layer.Path.Contains(".self_attn.");
}
