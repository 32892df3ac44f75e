using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>
/// Damaged, mismatched and hostile files, put on the model they pretend to be for: each is refused, warned about or loaded as its case says,
/// and the words name what the case names. (Faults of the container itself have their messages tested in <see cref="BadFilesTests"/>.)
/// </summary>
public partial class BadAdapterFilesTests
{
    public static IEnumerable<TheoryDataRow<string, int, string>> Files()
    {
        foreach (var row in GoldenCase.OfKind("bad_files"))
        {
            using var golden = GoldenCase.Open(row.Data);
            var i = 0;
            foreach (var file in golden.Json.GetProperty("files").EnumerateArray()) yield return new(row.Data, i++, file.GetProperty("file").GetString()!);
        }
    }

    [Theory, MemberData(nameof(Files))]
    public void A_bad_file_is_refused_or_warned_about_in_words_that_name_the_fault(string id, int place, string name)
    {
        using var golden = GoldenCase.Open(id);
        var entry = golden.Json.GetProperty("files")[place];
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        var options = new AdapterLoadOptions { BaseVersion = "sd_v1" };
        var path = Path.Combine(golden.Folder, name);
        var expected = entry.GetProperty("expected").GetString()!;
        switch (entry.GetProperty("level").GetString())
        {
            case "must be handled":   // by applying it: the module it names is of its own kind, the others are LoRA
                using (var adapter = Load(models, path, options)) Assert.Equal([AdapterKind.Dora], adapter.Layers.Select(layer => layer.Kind).Where(kind => kind != AdapterKind.Lora));
                break;
            case "error":
                AssertNames(expected, Assert.Throws<CheckpointException>(() => Load(models, path, options)).Message);
                break;
            case "warning":
                using (var adapter = Load(models, path, options)) AssertNames(expected, string.Join('\n', adapter.Warnings));
                break;
            case "good":
                using (var adapter = Load(models, path, options)) Assert.Empty(adapter.Warnings);
                break;
            default:
                Assert.Fail($"a level this test does not know: {entry.GetProperty("level")}");
                break;
        }
    }

    [Theory, MemberData(nameof(Files))]
    public void What_finds_no_module_is_left_out_and_reported_only_where_that_is_allowed(string id, int place, string name)
    {
        using var golden = GoldenCase.Open(id);
        var expected = golden.Json.GetProperty("files")[place].GetProperty("expected").GetString()!;
        var counts = Skipped().Match(expected);
        if (!counts.Success) return;   // only the cases that say how many match
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        using var adapter = Load(models, Path.Combine(golden.Folder, name), new() { AllowUnmatched = true });
        Assert.Equal(int.Parse(counts.Groups[1].Value, CultureInfo.InvariantCulture), adapter.Layers.Count);
        Assert.StartsWith($"{counts.Groups[2].Value} module of the adapter left out, the model has no such layer: ", Assert.Single(adapter.Warnings));
    }

    private static AdapterSet Load(AdapterModels models, string path, AdapterLoadOptions options)
    {
        using var file = AdapterFile.Open(path);
        return AdapterSet.Load(models, file, options);
    }

    /// <summary>Modules, parameters and base versions that the case's words name (before any advice) stand in ours.</summary>
    private static void AssertNames(string expected, string actual)
    {
        Assert.NotEmpty(actual);
        foreach (var name in Name().Matches(expected).Select(match => match.Value).Distinct()) Assert.Contains(name, actual);
    }

    [GeneratedRegex(@"\b(?:lora_(?:unet|te)\w*_|(?:bias_(?:indices|values|size)|lora_gate|dora_scale|sdxl_base_v1-0|alpha 0|\d+ in lora_\w+|\d+ input columns|\d+ output rows|\d+ elements|(?<=context )width \d+)\b)\w*")]
    private static partial Regex Name();

    [GeneratedRegex(@"(\d+) modules match, (\d+) does not")]
    private static partial Regex Skipped();
}
