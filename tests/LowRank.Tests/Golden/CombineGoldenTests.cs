using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// Combining adapters: the exact sum and the nearest one of a rank, every combination type of PEFT, and what sd-scripts' merging writes
/// beside the right answer.
/// </summary>
public sealed class CombineGoldenTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("combine");

    /// <summary>Every run of PEFT in every case: (case, name).</summary>
    public static IEnumerable<TheoryDataRow<string, string>> PeftRuns()
    {
        foreach (var row in Cases())
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var run in golden.Json.GetProperty("peft").EnumerateArray()) yield return new(row.Data, run.GetProperty("name").GetString()!);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Concat_and_linear_give_the_exact_sum(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var net = ToyNet.Of(golden.Json.GetProperty("params").GetProperty("shapes"));
        var parameters = golden.Json.GetProperty("params");
        var total = parameters.GetProperty("ranks").EnumerateArray().Sum(rank => rank.GetInt32());
        foreach (var method in new[] { CombineMethod.Concat, CombineMethod.Linear })
        {
            var (result, deltas) = Run(golden, net, "x", Weights(parameters, "weights"), new CombineOptions { Inputs = [], Output = "", Method = method });
            foreach (var name in net.Names.Layers.Select(layer => layer.Path)) Close(golden, "sum." + name, deltas[name]);
            Assert.All(result.Modules, module => Assert.InRange(module.Error, 0, 1e-6));
            if (method == CombineMethod.Concat) Assert.All(result.Modules, module => Assert.Equal(total, module.Rank));
            else Assert.All(result.Modules, module => Assert.InRange(module.Rank, 1, total));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Svd_gives_the_nearest_sum_of_its_rank_and_says_how_near(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        var parameters = golden.Json.GetProperty("params");
        using var net = ToyNet.Of(parameters.GetProperty("shapes"));
        var (result, deltas) = Run(golden, net, "x", Weights(parameters, "weights"), new CombineOptions { Inputs = [], Output = "", Method = CombineMethod.Svd, Rank = parameters.GetProperty("svd_rank").GetInt32() });
        foreach (var module in result.Modules)
        {
            var name = module.Module["unet.".Length..];
            Close(golden, "svd.delta." + name, deltas[name]);
            golden.AssertNumber(golden.Json.GetProperty("svd_error").GetProperty(name).GetProperty("relative"), module.Error, $"error of {name}");
            Assert.Equal(parameters.GetProperty("svd_rank").GetInt32(), module.Rank);
            CheckSingularValues(golden, name, module);
        }
    }

    [Theory, MemberData(nameof(PeftRuns))]
    public void Each_combination_type_of_PEFT_has_its_method(string id, string name)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        var run = golden.Json.GetProperty("peft").EnumerateArray().Single(item => item.GetProperty("name").GetString() == name);
        var parameters = golden.Json.GetProperty("params");
        using var net = ToyNet.Of(parameters.GetProperty("shapes"));
        var seed = parameters.GetProperty("seed").GetInt64();
        var drawn = 0;
        Tensor Draw(long[] shape) => Formula.Noise($"mask.{name}.{drawn++}", shape, seed, 1).MultiplyInPlace(0.5).AddInPlace(0.5);
        var (result, deltas) = Run(golden, net, run.GetProperty("adapters").GetString()!, Weights(run, "weights"), OptionsOf(run), Draw);
        Assert.Equal(run.GetProperty("masks_drawn").GetInt32(), drawn);
        Assert.Equal(run.GetProperty("rank").GetInt32(), result.Modules.Max(module => module.Rank));
        foreach (var path in net.Names.Layers.Select(layer => layer.Path)) Close(golden, $"peft.{name}.{path}", deltas[path]);
    }

    /// <summary>What sd-scripts' merge_lora writes is not the sum: factors are scaled by the ratio each, and plain merging multiplies across files.</summary>
    [Theory, MemberData(nameof(Cases))]
    public void What_merge_lora_of_sd_scripts_writes_is_explained_and_ours_is_the_right_answer(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var net = ToyNet.Of(golden.Json.GetProperty("params").GetProperty("shapes"));
        foreach (var run in golden.Json.GetProperty("sd_scripts").EnumerateArray().Where(run => run.GetProperty("name").GetString()!.StartsWith("merge_", StringComparison.Ordinal)))
        {
            var (name, set, weights) = (run.GetProperty("name").GetString()!, run.GetProperty("adapters").GetString()!, Weights(run, "weights"));
            var (_, ours) = Run(golden, net, set, weights, new CombineOptions { Inputs = [], Output = "", Method = CombineMethod.Linear });
            var files = Files(golden, set).Select(AdapterFile.Open).ToList();
            foreach (var layer in net.Names.Layers)
            {
                var modules = files.Select(file => new AdapterFit(file, net.Names).Matched.Single(item => item.Layer == layer).Module).ToList();
                var shares = modules.Zip(weights, (module, weight) => Math.Sqrt(module.EffectiveAlpha / modules[0].EffectiveAlpha) * weight).ToList();
                var downs = modules.Zip(shares, (module, share) => module.ReadFactors()["down"].Times(share)).ToList();
                var ups = modules.Zip(shares, (module, share) => module.ReadFactors()["up"].Times(Math.Abs(share))).ToList();
                var concat = name == "merge_concat";
                var (down, up) = concat ? (cat(downs), cat(ups, 1)) : (downs.Aggregate((a, b) => a.Plus(b)), ups.Aggregate((a, b) => a.Plus(b)));
                Close(golden, $"sd_scripts.{name}.{layer.Path}", up.mm(down).Times(run.GetProperty("alpha").GetDouble() / down.shape[0]).view(layer.Shape.Weight));
                Close(golden, $"sd_scripts.{name}.right.{layer.Path}", ours[layer.Path]);
            }
            foreach (var file in files) file.Dispose();
        }
    }

    /// <summary>Its clamped result depends on signs that the decomposition chose; what it clamps is ours.</summary>
    [Theory, MemberData(nameof(Cases))]
    public void What_svd_merge_of_sd_scripts_clamps_is_the_nearest_sum(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var net = ToyNet.Of(golden.Json.GetProperty("params").GetProperty("shapes"));
        foreach (var run in golden.Json.GetProperty("sd_scripts").EnumerateArray().Where(run => run.TryGetProperty("clamp", out _)))
        {
            var (name, set) = (run.GetProperty("name").GetString()!, run.GetProperty("adapters").GetString()!);
            foreach (var row in run.GetProperty("clamp").EnumerateArray())
            {
                var options = new CombineOptions { Inputs = [], Output = "", Method = CombineMethod.Svd, Rank = row.GetProperty("rank").GetInt32() };
                var (_, ours) = Run(golden, net, set, Weights(run, "weights"), options);
                var module = row.GetProperty("module").GetString()!;
                Close(golden, $"sd_scripts.{name}.unclamped.{module}", ours[module]);
                using var clamped = golden.Tensor($"sd_scripts.{name}.{module}");
                using var whole = golden.Tensor($"sd_scripts.{name}.unclamped.{module}");
                golden.AssertNumber(row.GetProperty("loss"), clamped.sub(whole).norm().item<float>() / whole.norm().item<float>(), $"what clamping costs {module}");
            }
        }
    }

    /// <summary>PEFT's name of a run in our words: types without _svd merge factors.</summary>
    private static CombineOptions OptionsOf(JsonElement run)
    {
        var type = run.GetProperty("combination_type").GetString()!;
        var dense = type.EndsWith("svd", StringComparison.Ordinal);
        SignRule? sign = run.TryGetProperty("majority_sign_method", out var rule) && rule.GetString() == "frequency" ? SignRule.Frequency : type.Contains("ties", StringComparison.Ordinal) ? SignRule.Total : null;
        return new CombineOptions
        {
            Inputs = [],
            Output = "",
            Method = type switch
            {
                "svd" => CombineMethod.Svd,
                "cat" => CombineMethod.Concat,
                "linear" => CombineMethod.Linear,
                _ when type.StartsWith("ties", StringComparison.Ordinal) => CombineMethod.Ties,
                _ when type.StartsWith("dare", StringComparison.Ordinal) => CombineMethod.Dare,
                _ when type.StartsWith("magnitude_prune", StringComparison.Ordinal) => CombineMethod.Magnitude,
                _ => throw new Xunit.Sdk.XunitException($"the case has the combination type {type}, which this test does not know"),
            },
            Factors = !dense && type != "cat",
            Sign = sign,
            Density = run.TryGetProperty("density", out var density) ? density.GetDouble() : null,
            Rank = run.TryGetProperty("svd_rank", out var rank) ? rank.GetInt32() : null,
        };
    }

    private (WrittenAdapter Result, Dictionary<string, Tensor> Deltas) Run(GoldenCase golden, ToyNet net, string set, IReadOnlyList<double> weights, CombineOptions options, Func<long[], Tensor>? draw = null)
    {
        options = options with { Inputs = [.. Files(golden, set).Zip(weights, (file, weight) => new AdapterUse(file, weight))], Output = folder.Path("out.safetensors") };
        Assert.Empty(options.Validate());
        using var files = OpenAdapters.Open(options.Inputs.Select(input => input.File));
        var result = CombineAdapters.Run(options, files.All, new CombineBase(net.Names, "toy", null), draw, null, CancellationToken.None);
        return (result, net.Deltas(options.Output));
    }

    private static IEnumerable<string> Files(GoldenCase golden, string set) =>
        golden.Json.GetProperty("files").EnumerateArray().Select(file => file.GetString()!).Where(file => file.Contains($"_{set}", StringComparison.Ordinal)).Select(file => Path.Combine(golden.Folder, file));

    private static List<double> Weights(JsonElement json, string key) => [.. json.GetProperty(key).EnumerateArray().Select(weight => weight.GetDouble())];

    /// <summary>The kept energy is that of the stored singular values.</summary>
    private static void CheckSingularValues(GoldenCase golden, string name, WrittenModule module)
    {
        using var values = golden.Tensor("svd.singular." + name);
        var squares = values.data<float>().Select(value => (double)value * value).ToList();
        Assert.Equal(squares.Take(module.Rank).Sum() / squares.Sum(), module.Energy, 5);
        Assert.Equal(Math.Sqrt(squares.Sum()), module.Norm, 3);
    }

    private static void Close(GoldenCase golden, string name, Tensor actual) => golden.AssertClose(name, actual);
}
