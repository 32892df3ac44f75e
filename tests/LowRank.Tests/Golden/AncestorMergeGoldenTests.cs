using System.Globalization;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Adapters.Combining;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// The merge modes of the package of 2022: what they wrote is explained number by number, and <c>lora combine</c> gives the right answer.
/// docs/from-2022.md tells of both.
/// </summary>
public sealed class AncestorMergeGoldenTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("ancestor_merge");

    [Theory, MemberData(nameof(Cases))]
    public void Lpl_averaged_factors_and_the_sum_of_the_changes_is_another(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var files = new Files(golden);
        var (first, second) = (Alpha(golden, 1), Alpha(golden, 2));
        var right = files.Combine(folder, CombineMethod.Linear, (0, first), (1, second));
        foreach (var name in Names(golden, "lpl"))
        {
            var ((down, up), (otherDown, otherUp)) = (files.Factors(0, name), files.Factors(1, name));
            var written = up.Times(first).Plus(otherUp.Times(second)).mm(down.Times(first).Plus(otherDown.Times(second)));
            golden.AssertClose("lpl.ancestor." + name, written);
            golden.AssertClose("lpl.right." + name, right[name]);
            // a1² and a2² of the changes, and products of one adapter's up with the other's down
            var cross = up.mm(otherDown).Plus(otherUp.mm(down)).Times(first * second);
            golden.AssertClose("lpl.ancestor." + name, up.mm(down).Times(first * first).Plus(otherUp.mm(otherDown).Times(second * second)).Plus(cross));
            Assert.InRange(Distance(written, right[name]), 0.3, 1);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Lpl_spread_a_rank_1_over_all_ranks_of_the_other_file(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var files = new Files(golden);
        var (first, second) = (Alpha(golden, 1), Alpha(golden, 2));
        var right = files.Combine(folder, CombineMethod.Concat, (0, first), (2, second));
        foreach (var name in Names(golden, "lpl_broadcast"))
        {
            var ((down, up), (otherDown, otherUp)) = (files.Factors(0, name), files.Factors(2, name));
            Assert.Equal(1, otherDown.shape[0]);
            golden.AssertClose("lpl_broadcast.ancestor." + name, up.Times(first).Plus(otherUp.Times(second)).mm(down.Times(first).Plus(otherDown.Times(second))));
            golden.AssertClose("lpl_broadcast.right." + name, right[name]);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Ljl_was_the_exact_sum_without_weights_which_concat_gives(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var files = new Files(golden);
        var sum = files.Combine(folder, CombineMethod.Concat, (0, 1), (1, 1));
        foreach (var name in Names(golden, "ljl")) golden.AssertClose("ljl.ancestor." + name, sum[name]);
        CheckTokens(golden, files);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Upl_added_the_change_to_the_weights(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var files = new Files(golden);
        var change = files.Combine(folder, CombineMethod.Linear, (0, Alpha(golden, 1)));
        var seed = golden.Json.GetProperty("params").GetProperty("seed_of_base").GetInt64();
        foreach (var name in golden.TensorInfos.Keys.Where(key => key.StartsWith("upl.merged.", StringComparison.Ordinal)))
        {
            var module = name["upl.merged.".Length..];
            golden.AssertClose(name, Formula.Weight(module + ".weight", change[module].shape, seed).Plus(change[module]));
        }
    }

    /// <summary>The join renamed every token, lpl dropped the second file's where names clash; here only clashing names change, to those of the join.</summary>
    private void CheckTokens(GoldenCase golden, Files files)
    {
        var joined = golden.Json.GetProperty("notes").GetProperty("ljl_tokens").EnumerateObject().ToDictionary(item => item.Name, item => item.Value.GetString()!.Split(':', 2));
        var ours = Embedding.Read(folder.Path("out.safetensors")).ToDictionary(token => token.Token, token => token.Vectors["text_encoder"]);
        Assert.Equal(joined.Count, ours.Count);
        foreach (var (name, (file, own)) in joined.Select(item => (item.Key, (int.Parse(item.Value[0], CultureInfo.InvariantCulture) - 1, item.Value[1]))))
        {
            var clashes = joined.Values.Count(value => value[1] == own) > 1;
            var vectors = Embedding.Read(files.All[file]).Single(token => token.Token == own).Vectors["text_encoder"];
            TensorAssert.Close(vectors, ours[clashes ? name : own], 0, 0, name);
        }
        foreach (var (name, kept) in golden.Json.GetProperty("notes").GetProperty("lpl_embeddings").EnumerateObject().Select(item => (item.Name, item.Value.GetString())))
        {
            if (joined.Values.Count(value => value[1] == name) > 1) Assert.Equal("file 1", kept);
        }
    }

    private static double Alpha(GoldenCase golden, int number) => golden.Json.GetProperty("params").GetProperty($"alpha_{number}").GetDouble();

    private static double Distance(Tensor a, Tensor b) => a.sub(b).norm().item<float>() / b.norm().item<float>();

    private static List<string> Names(GoldenCase golden, string mode)
    {
        var start = mode + ".ancestor.";
        var names = golden.TensorInfos.Keys.Where(key => key.StartsWith(start, StringComparison.Ordinal)).Select(key => key[start.Length..]).ToList();
        Assert.NotEmpty(names);
        return names;
    }

    /// <summary>The case's files on the tiny model that they were made for.</summary>
    private sealed class Files : IDisposable
    {
        private readonly AdapterModels models;
        private readonly ModuleNames names;
        private readonly OpenAdapters open;

        public Files(GoldenCase golden)
        {
            using var delta = GoldenCase.Open(golden.Area + "/sd1_delta");   // has the models' configurations
            models = AdapterModels.FromParams(delta.Json.GetProperty("params"));
            names = new ModuleNames(models);
            open = OpenAdapters.Open(golden.Json.GetProperty("files").EnumerateArray().Select(file => Path.Combine(golden.Folder, file.GetString() + ".safetensors")));
            CheckOrder(golden.Json.GetProperty("order"));
        }

        public IReadOnlyList<AdapterFile> All => open.All;

        /// <summary>Float32 of what is stored: the package kept no scale beside them.</summary>
        public (Tensor Down, Tensor Up) Factors(int file, string name) => LayerChange.Factors(new AdapterFit(All[file], names).Matched.Single(item => $"{item.Layer.Component}.{item.Layer.Path}" == name).Module);

        /// <summary>ΔW of the combination, by component and path. The caller's scope owns them.</summary>
        public Dictionary<string, Tensor> Combine(TemporaryFolder folder, CombineMethod method, params (int File, double Weight)[] parts)
        {
            var options = new CombineOptions { Inputs = [.. parts.Select(part => new AdapterUse(All[part.File].Path, part.Weight))], Output = folder.Path("out.safetensors"), Method = method, Precision = SavePrecision.Fp32 };
            CombineAdapters.Run(options, [.. parts.Select(part => All[part.File])], new CombineBase(names, "tiny", null), null, null, CancellationToken.None);
            using var file = AdapterFile.Open(options.Output);
            using var set = AdapterSet.Load(models, file);
            return set.Layers.ToDictionary(layer => $"{layer.Component}.{layer.Path}", layer => layer.Delta());
        }

        public void Dispose()
        {
            open.Dispose();
            models.Dispose();
        }

        private void CheckOrder(JsonElement order)
        {
            foreach (var component in order.EnumerateObject())
            {
                var expected = component.Value.EnumerateArray().Select(path => path.GetString()).ToList();
                Assert.Equal(expected, new AdapterFit(All[0], names).Matched.Where(item => item.Layer.Component == component.Name)
                    .OrderBy(item => int.Parse(item.Module.Lookup[(component.Name.Length + 1)..], CultureInfo.InvariantCulture)).Select(item => item.Layer.Path));
            }
        }
    }
}
