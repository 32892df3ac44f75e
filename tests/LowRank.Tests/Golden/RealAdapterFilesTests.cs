using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>The real adapter files of the 2022 package, against manifests of what they hold. The files are not committed: LOWRANK_DATA names their folder.</summary>
public class RealAdapterFilesTests
{
    public static IEnumerable<TheoryDataRow<string, int, string>> Files()
    {
        foreach (var row in GoldenCase.OfKind("real_files"))
        {
            using var golden = GoldenCase.Open(row.Data);
            var i = 0;
            foreach (var file in golden.Json.GetProperty("files").EnumerateArray()) yield return new(row.Data, i++, file.GetProperty("file").GetString()!);
        }
    }

    [Theory, MemberData(nameof(Files))]
    public void A_real_file_reads_as_its_manifest_says(string id, int place, string name)
    {
        using var golden = GoldenCase.Open(id);
        var path = Path.Combine(Repository.SampleData("ancestor-adapters"), name);
        using var scope = NewDisposeScope();
        var manifest = golden.Json.GetProperty("files")[place];
        Assert.Equal(manifest.GetProperty("bytes").GetInt64(), new FileInfo(path).Length);
        Assert.Equal(manifest.GetProperty("sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path))));
        using var file = AdapterFile.Open(path);
        Assert.Empty(file.Problems);
        CheckTokens(manifest.GetProperty("tokens"), file, golden.Json.GetProperty("tolerance"));
        var components = manifest.GetProperty("components");
        if (!components.EnumerateObject().Any())
        {
            Assert.Empty(file.Modules);
            return;
        }
        using var models = AdapterModels.Published(BaseGuess.Of(file)!.Name == "Stable Diffusion 2" ? "sd21" : "sd15");
        using var adapter = AdapterSet.Load(models, file);
        Assert.Equal(components.EnumerateObject().Select(item => item.Name).Order(StringComparer.Ordinal), adapter.Layers.Select(layer => layer.Component).Distinct().Order(StringComparer.Ordinal));
        var names = new ModuleNames(models);
        foreach (var component in components.EnumerateObject())
        {
            var order = names.Layouts(component.Name).First(layout => layout.Layers.Count == component.Value.GetProperty("modules").GetInt32()
                && layout.Layers.Zip(file.Modules.Where(module => module.Lookup.StartsWith(component.Name + ":", StringComparison.Ordinal)).OrderBy(module => int.Parse(module.Lookup.Split(':')[1], CultureInfo.InvariantCulture)))
                    .All(pair => pair.Second.Misfit(pair.First.Shape) is null));
            CheckComponent(component.Value, order.Layers.Select(layer => adapter.Layers.Single(item => item.Component == layer.Component && item.Path == layer.Path)).ToList(), golden.Json.GetProperty("tolerance"));
        }
    }

    /// <summary>To what people want them in today, and back, with the same change of every weight to the bit: their scale is 1, and nothing is rounded.</summary>
    [Theory, MemberData(nameof(Files))]
    public void A_real_file_goes_to_kohya_and_PEFT_and_back(string id, int place, string name)
    {
        using var golden = GoldenCase.Open(id);
        var path = Path.Combine(Repository.SampleData("ancestor-adapters"), name);
        if (!golden.Json.GetProperty("files")[place].GetProperty("components").EnumerateObject().Any()) return;   // words alone
        using var folder = new TemporaryFolder();
        using var models = Models(path);
        using var expected = Load(models, path);
        foreach (var (to, output) in new[] { (WrittenConvention.Kohya, folder.Path("kohya.safetensors")), (WrittenConvention.Peft, Path.Combine(folder.FullName, "peft")), (WrittenConvention.Diffusers, folder.Path("diffusers.safetensors")) })
        {
            var there = ConvertAdapter.Run(new ConvertOptions { Input = path, Output = output, To = to });
            Assert.NotEmpty(there.Files);
            SameFactors(expected, models, output);
            var back = ConvertAdapter.Run(new ConvertOptions { Input = output, Output = folder.Path($"{to}-back.safetensors"), To = WrittenConvention.Legacy });
            SameFactors(expected, models, back.Files[0]);
            using var read = AdapterFile.Open(back.Files[0]);
            using var source = AdapterFile.Open(path);
            if (to == WrittenConvention.Kohya) Assert.Equal(source.Embeddings.Select(item => item.Name).Order(), read.Embeddings.Select(item => item.Name).Order());
        }
    }

    private static AdapterSet Load(AdapterModels models, string path)
    {
        using var file = AdapterFile.Open(path);
        return AdapterSet.Load(models, file);
    }

    /// <summary>Every layer has the same factors and scale: the same change of the weight, without forming it.</summary>
    private static void SameFactors(AdapterSet expected, AdapterModels models, string path)
    {
        using var actual = Load(models, path);
        Assert.Equal(expected.Layers.Select(layer => (layer.Component, layer.Path, layer.Rank, layer.Alpha)), actual.Layers.Select(layer => (layer.Component, layer.Path, layer.Rank, layer.Alpha)));
        foreach (var (one, other) in expected.NamedParameters().Zip(actual.NamedParameters())) TensorAssert.Equal(one.Parameter, other.Parameter, one.Name);
    }

    private static AdapterModels Models(string path)
    {
        using var file = AdapterFile.Open(path);
        return AdapterModels.Published(BaseGuess.Of(file)!.Name == "Stable Diffusion 2" ? "sd21" : "sd15");
    }

    private static void CheckComponent(JsonElement manifest, List<AdapterLayer> layers, JsonElement tolerance)
    {
        var (rtol, atol) = (tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble());
        Assert.Equal(manifest.GetProperty("modules").GetInt32(), layers.Count);
        Assert.Equal(manifest.GetProperty("ranks").EnumerateArray().Select(rank => rank.GetInt32()), layers.Select(layer => layer.Rank).Distinct().Order());
        var norms = new List<double>();
        var sum = 0.0;
        var magnitude = 0.0;
        foreach (var (layer, place) in layers.Select((layer, place) => (layer, place)))
        {
            using var scope = NewDisposeScope();
            var delta = layer.Delta().to(ScalarType.Float64);
            norms.Add(delta.norm().item<double>());
            sum += delta.sum().item<double>();
            magnitude += delta.abs().sum().item<double>();
            var row = manifest.GetProperty("first_and_last").EnumerateArray().FirstOrDefault(item => item.GetProperty("i").GetInt32() == place);
            if (row.ValueKind != JsonValueKind.Object) continue;
            Assert.Equal(row.GetProperty("path").GetString(), layer.Path);
            Assert.Equal([row.GetProperty("out").GetInt64(), row.GetProperty("in").GetInt64()], delta.shape);
            Assert.Equal(row.GetProperty("rank").GetInt32(), layer.Rank);
            Near("norm", norms[^1]);
            Near("dw_0_0", delta[0, 0].item<double>());
            Near("dw_0_last", delta[0, -1].item<double>());
            Near("dw_last_0", delta[-1, 0].item<double>());
            // a sum of many terms that cancel is as exact as the terms
            Assert.Equal(row.GetProperty("sum").GetDouble(), delta.sum().item<double>(), atol + rtol * delta.abs().sum().item<double>());

            void Near(string key, double actual) => Assert.Equal(row.GetProperty(key).GetDouble(), actual, atol + rtol * Math.Abs(row.GetProperty(key).GetDouble()));
        }
        foreach (var (expected, actual) in manifest.GetProperty("norms").EnumerateArray().Zip(norms)) Assert.Equal(expected.GetDouble(), actual, atol + rtol * expected.GetDouble());
        Assert.Equal(manifest.GetProperty("frobenius_total").GetDouble(), Math.Sqrt(norms.Sum(norm => norm * norm)), rtol * manifest.GetProperty("frobenius_total").GetDouble());
        Assert.Equal(manifest.GetProperty("sum_total").GetDouble(), sum, atol + rtol * magnitude);
        Assert.Equal(manifest.GetProperty("zero_modules").EnumerateArray().Select(path => path.GetString()), layers.Where((_, place) => norms[place] == 0).Select(layer => layer.Path));
    }

    private static void CheckTokens(JsonElement tokens, AdapterFile file, JsonElement tolerance)
    {
        Assert.Equal(tokens.EnumerateObject().Select(token => token.Name).Order(StringComparer.Ordinal), file.Embeddings.Select(item => item.Name).Order(StringComparer.Ordinal));
        foreach (var embedding in file.Embeddings)
        {
            var token = tokens.GetProperty(embedding.Name);
            using var vector = file.Read(embedding);
            Assert.Equal(token.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()), embedding.Shape);
            Assert.Equal(token.GetProperty("dtype").GetString(), vector.dtype.ToString().ToLowerInvariant());
            Assert.Equal(token.GetProperty("first").EnumerateArray().Select(number => number.GetSingle()), vector.data<float>().ToArray()[..token.GetProperty("first").GetArrayLength()]);
            Assert.Equal(token.GetProperty("norm").GetDouble(), vector.to(ScalarType.Float64).norm().item<double>(), tolerance.GetProperty("rtol").GetDouble());
        }
    }
}
