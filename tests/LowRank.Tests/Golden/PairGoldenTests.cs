using System.Text.Json;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>Two adapters held against each other: lengths, singular values, cosines and subspaces of every module.</summary>
public class PairGoldenTests
{
    /// <summary>Cases of this run's fixtures; without any, the one that is cut from real files and not committed, where LOWRANK_DATA has it.</summary>
    public static TheoryData<string> Cases()
    {
        var cases = GoldenCase.OfKind("adapters/pair").Select(row => row.Data).ToList();
        return cases.Count > 0 ? [.. cases] : ["adapters/pair"];
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_pair_differs_as_its_case_says(string id)
    {
        using var golden = Open(id);
        var difference = Diff(golden);
        var modules = difference.Modules.ToDictionary(module => module.Module);
        var expected = golden.Json.GetProperty("per_module").EnumerateArray().ToList();
        Assert.Equal(expected.Select(item => item.GetProperty("module").GetString()!).Order(StringComparer.Ordinal), modules.Keys.Order(StringComparer.Ordinal));
        foreach (var item in expected)
        {
            var module = modules[item.GetProperty("module").GetString()!];
            CheckSide(golden, item, "a", module.First);
            CheckSide(golden, item, "b", module.Second);
            if (!item.TryGetProperty("difference_norm", out var distance)) continue;
            golden.AssertNumber(distance, module.Distance, module.Module);
            Check(golden, item.GetProperty("cosine"), module.Cosine, module.Module);
            CheckAll(golden, item.GetProperty("input_subspace_cosines"), module.InputCosines!, module.Module);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void What_only_one_of_a_pair_has_is_named(string id)
    {
        using var golden = Open(id);
        var difference = Diff(golden);
        Assert.Equal(Names("only_in_a"), difference.Modules.Where(module => module.Second is null).Select(module => module.Module).Order(StringComparer.Ordinal));
        Assert.Equal(Names("only_in_b"), difference.Modules.Where(module => module.First is null).Select(module => module.Module).Order(StringComparer.Ordinal));
        Assert.Equal(Names("metadata_that_differs"), difference.Metadata);
        var text = difference.ToString();
        foreach (var name in (string[])["only_in_a", "only_in_b", "metadata_that_differs"]) Assert.All(Names(name), word => Assert.Contains(word, text, StringComparison.Ordinal));

        List<string> Names(string key) => [.. golden.Json.GetProperty(key).EnumerateArray().Select(name => name.GetString()!)];
    }

    [Theory, MemberData(nameof(Cases))]
    public void The_whole_is_made_of_its_modules(string id)
    {
        using var golden = Open(id);
        var (difference, all) = (Diff(golden), golden.Json.GetProperty("per_module").EnumerateArray().ToList());
        double Norm(JsonElement item, string side) => item.TryGetProperty(side, out var found) ? found.GetProperty("norm").GetDouble() : 0;
        double Apart(JsonElement item) => item.TryGetProperty("difference_norm", out var found) ? found.GetDouble() : Norm(item, "a") + Norm(item, "b");
        var tolerance = golden.Json.GetProperty("tolerance").GetProperty("rtol").GetDouble();
        Assert.Equal(1, difference.FirstNorm / Math.Sqrt(all.Sum(item => Math.Pow(Norm(item, "a"), 2))), tolerance);
        Assert.Equal(1, difference.SecondNorm / Math.Sqrt(all.Sum(item => Math.Pow(Norm(item, "b"), 2))), tolerance);
        Assert.Equal(1, difference.Distance / Math.Sqrt(all.Sum(item => Math.Pow(Apart(item), 2))), tolerance);
    }

    private static GoldenCase Open(string id) => GoldenCase.OfKind("adapters/pair").Any() ? GoldenCase.Open(id) : GoldenCase.Open(id, Repository.SampleData("adapter-pair"));

    private static AdapterDifference Diff(GoldenCase golden)
    {
        var files = golden.Json.GetProperty("files").EnumerateArray().Select(name => Path.Combine(golden.Folder, name.GetString()!)).ToList();
        return DiffAdapters.Run(files[0], files[1]);
    }

    private static void CheckSide(GoldenCase golden, JsonElement item, string side, ComparedModule? actual)
    {
        Assert.Equal(item.TryGetProperty(side, out var expected), actual is not null);
        if (actual is null) return;
        var label = $"{item.GetProperty("module").GetString()}, {side}";
        Assert.Equal(expected.GetProperty("rank").GetInt32(), actual.Rank);
        Assert.Equal(expected.GetProperty("alpha").GetDouble(), actual.Alpha);
        Assert.Equal(expected.GetProperty("dead").GetBoolean(), actual.Dead);
        golden.AssertNumber(expected.GetProperty("norm"), actual.Norm, label);
        CheckAll(golden, expected.GetProperty("singular_values"), actual.SingularValues!, label);
        golden.AssertNumber(expected.GetProperty("stable_rank"), actual.StableRank!.Value, label);
        foreach (var factor in (string[])["up", "down"])
        {
            golden.AssertNumber(expected.GetProperty(factor + "_max"), actual.Factors["lora_" + factor].Largest, $"{label}, {factor}");
            Assert.Equal(expected.GetProperty(factor + "_elements_at_max").GetInt64(), actual.Factors["lora_" + factor].AtLargest);
        }
    }

    private static void CheckAll(GoldenCase golden, JsonElement expected, IReadOnlyList<double> actual, string label)
    {
        Assert.Equal(expected.GetArrayLength(), actual.Count);
        foreach (var (one, own) in expected.EnumerateArray().Zip(actual)) golden.AssertNumber(one, own, label);
    }

    private static void Check(GoldenCase golden, JsonElement expected, double? actual, string label)
    {
        Assert.Equal(expected.ValueKind == JsonValueKind.Null, actual is null);
        if (actual is { } number) golden.AssertNumber(expected, number, label);
    }
}
