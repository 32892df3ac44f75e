using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>One LoRA in every file convention: each file must read to the same delta of each module.</summary>
public class SameDeltaTests
{
    /// <summary>The sets of modules that cases name in words, as a rule on <c>component.path</c>.</summary>
    private static readonly Dictionary<string, Func<string, bool>> ModuleSets = new()
    {
        ["all"] = _ => true,
        ["attention_and_te"] = name => name.Contains("attentions") || IsText(name),
        ["unet_attention"] = name => !IsText(name) && name.Contains("attentions"),
        ["text_encoder"] = IsText,
        ["unet"] = name => !IsText(name),
        ["attention_only_and_te_attention"] = name => IsAttention(name) || IsTextAttention(name),
        ["unet_attn_only"] = IsAttention,
        ["ancestor_default"] = name => IsAttention(name) || IsGate(name) || IsTextAttention(name),
        ["ancestor_default_unet"] = name => IsAttention(name) || IsGate(name),
        ["ancestor_default_te"] = IsTextAttention,
        ["ancestor_extended_unet"] = name => IsAttention(name) || IsGate(name) || (name.Contains(".resnets.") && !IsText(name)),
    };

    private static bool IsText(string name) => name.StartsWith("text_encoder", StringComparison.Ordinal);
    private static bool IsTextAttention(string name) => IsText(name) && name.Contains(".self_attn.");
    private static bool IsAttention(string name) => !IsText(name) && name.Contains(".attn");
    private static bool IsGate(string name) => name.EndsWith(".ff.net.0.proj", StringComparison.Ordinal);

    /// <summary>Every file of every case: (case, place in its list, name).</summary>
    public static IEnumerable<TheoryDataRow<string, int, string>> Files()
    {
        foreach (var row in GoldenCase.OfKind("same_delta"))
        {
            using var golden = GoldenCase.Open(row.Data);
            if (!golden.Json.TryGetProperty("files", out var files)) continue;
            var i = 0;
            foreach (var file in files.EnumerateArray()) yield return new(row.Data, i++, file.GetProperty("file").GetString()!);
        }
    }

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("same_delta");

    [Theory, MemberData(nameof(Files))]
    public void A_file_reads_to_the_delta_of_its_case(string id, int place, string name)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        var entry = golden.Json.GetProperty("files")[place];
        var path = Path.Combine(golden.Folder, name);
        Assert.Equal(entry.GetProperty("bytes").GetInt64(), new FileInfo(path).Length);
        using var file = AdapterFile.Open(path);
        Assert.Empty(file.Problems);
        if (ReadsTo(id, entry) is not { } target)
        {
            CheckTokens(golden.Json.GetProperty(entry.GetProperty("reads_to").GetString()!), file);
            return;
        }
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        CheckModules(golden.Json.GetProperty("modules"), models);
        using var expected = GoldenCase.Open(target);
        using var adapter = AdapterSet.Load(models, file);
        CheckDeltas(entry, expected, adapter);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Every_case_is_what_some_file_reads_to(string id)
    {
        var targets = Files().Select(row =>
        {
            using var golden = GoldenCase.Open(row.Data.Item1);
            return ReadsTo(row.Data.Item1, golden.Json.GetProperty("files")[row.Data.Item2]);
        });
        Assert.Contains(id, targets);
    }

    [Theory, MemberData(nameof(Cases))]
    public void The_package_of_2022_walked_the_model_in_one_of_our_orders(string id)
    {
        using var golden = GoldenCase.Open(id);
        if (!golden.Json.TryGetProperty("ancestor_order", out var orders)) return;
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        var names = new ModuleNames(models);
        foreach (var layout in orders.EnumerateObject())
        {
            foreach (var component in layout.Value.EnumerateObject())
            {
                var expected = string.Join('\n', component.Value.EnumerateArray().Select(path => path.GetString()));
                Assert.Contains(expected, names.Layouts(component.Name).Select(item => string.Join('\n', item.Layers.Select(layer => layer.Path))));
            }
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Ranks_and_alphas_are_read_for_each_module(string id)
    {
        using var golden = GoldenCase.Open(id);
        if (!golden.Json.TryGetProperty("mixed", out var mixed)) return;
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        var entry = golden.Json.GetProperty("files").EnumerateArray().Single(item => item.TryGetProperty("prefix", out var prefix) && prefix.GetString() == "mixed.");
        using var file = AdapterFile.Open(Path.Combine(golden.Folder, entry.GetProperty("file").GetString()!));
        using var adapter = AdapterSet.Load(models, file);
        var actual = adapter.Layers.ToDictionary(layer => $"{layer.Component}.{layer.Path}", layer => (layer.Rank, layer.Alpha));
        var expected = mixed.EnumerateArray().ToDictionary(
            item => item.GetProperty("module").GetString()!,
            item => (item.GetProperty("rank").GetInt32(), item.GetProperty("alpha").ValueKind == JsonValueKind.Null ? item.GetProperty("rank").GetInt32() : item.GetProperty("alpha").GetDouble()));
        Assert.Equal(expected.OrderBy(item => item.Key, StringComparer.Ordinal), actual.OrderBy(item => item.Key, StringComparer.Ordinal));
    }

    /// <summary>sd-scripts' own files, loaded and written again, give the same data section, byte for byte: names, types, order, alphas.</summary>
    [Theory, MemberData(nameof(Cases))]
    public void A_written_file_has_the_data_of_the_one_sd_scripts_wrote(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        if (!golden.Json.TryGetProperty("kohya_hashes", out var hashes)) return;
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        foreach (var item in hashes.EnumerateObject())
        {
            using var source = SafetensorsReader.Open(Path.Combine(golden.Folder, "files", item.Name));
            using var file = AdapterFile.Open(source.Path);
            using var adapter = AdapterSet.Load(models, file);
            var path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.safetensors");
            try
            {
                AdapterWriter.Write(path, adapter, new() { Type = source.Tensors.Values.First().Type });
                using var written = SafetensorsReader.Open(path);
                Assert.Equal(item.Value.GetProperty("sshs_model_hash").GetString(), written.Metadata["sshs_model_hash"]);
                Assert.Equal(source.Tensors.Keys, written.Tensors.Keys);
                foreach (var name in source.Tensors.Keys) Assert.Equal(source.ReadBytes(name), written.ReadBytes(name));
            }
            finally
            {
                File.Delete(path);
            }
        }
    }

    /// <summary>The case a file's deltas are in; null for files that hold no modules.</summary>
    private static string? ReadsTo(string id, JsonElement entry)
    {
        var folder = id[..(id.IndexOf('/') + 1)];
        if (!entry.TryGetProperty("reads_to", out var target)) return id;
        return PackedFixture.Exists(Path.Combine(GoldenCase.FixturesFolder, folder, target.GetString() + ".json")) ? folder + target.GetString() : null;
    }

    /// <summary>The real model has every module of the case, with its shape and sd-scripts' name for it.</summary>
    private static void CheckModules(JsonElement modules, AdapterModels models)
    {
        var names = new ModuleNames(models);
        var layers = names.Layers.ToDictionary(layer => (layer.Component, layer.Path));
        foreach (var module in modules.EnumerateArray())
        {
            var (component, path) = (module.GetProperty("component").GetString()!, module.GetProperty("path").GetString()!);
            Assert.Equal(module.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()), layers[(component, path)].Shape.Weight);
            Assert.Equal(module.GetProperty("kohya").GetString(), names.Kohya(component, path));
            foreach (var key in new[] { "kohya", "kohya_diffusers" })
            {
                if (module.TryGetProperty(key, out var name)) Assert.Equal(path, Assert.Single(names.Find(name.GetString()!)).Path);
            }
        }
    }

    private static void CheckDeltas(JsonElement entry, GoldenCase expected, AdapterSet adapter)
    {
        var prefix = entry.TryGetProperty("prefix", out var value) ? value.GetString()! : "";
        var wanted = Wanted(entry.GetProperty("modules"), expected, prefix);
        Assert.Equal(wanted.Order(StringComparer.Ordinal), adapter.Layers.Select(layer => $"{layer.Component}.{layer.Path}").Order(StringComparer.Ordinal));
        var (tolerance, factor) = (expected.Json.GetProperty("tolerance"), entry.GetProperty("factor").GetDouble());
        foreach (var layer in adapter.Layers)
        {
            var name = $"{layer.Component}.{layer.Path}";
            using var delta = layer.Delta();
            using var right = expected.Tensor(prefix + name).MultiplyInPlace(factor);
            TensorAssert.Close(right, delta, tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble(), name);
        }
    }

    private static IEnumerable<string> Wanted(JsonElement modules, GoldenCase expected, string prefix)
    {
        if (modules.ValueKind == JsonValueKind.Array) return modules.EnumerateArray().Select(name => name.GetString()!);
        var all = expected.TensorInfos.Keys.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)).Select(name => name[prefix.Length..]);
        var set = modules.GetString()!;
        return set == "own" ? all : all.Where(ModuleSets.TryGetValue(set, out var rule) ? rule : throw new Xunit.Sdk.XunitException($"the case names the modules \"{set}\", which this test does not know"));
    }

    private static void CheckTokens(JsonElement tokens, AdapterFile file)
    {
        Assert.Empty(file.Modules);
        Assert.Equal(tokens.EnumerateObject().Select(token => token.Name).Order(StringComparer.Ordinal), file.Embeddings.Select(item => item.Name).Order(StringComparer.Ordinal));
        foreach (var embedding in file.Embeddings)
        {
            using var vector = file.Read(embedding);
            Assert.Equal(tokens.GetProperty(embedding.Name).EnumerateArray().Select(number => number.GetSingle()), vector.data<float>().ToArray());
        }
    }
}
