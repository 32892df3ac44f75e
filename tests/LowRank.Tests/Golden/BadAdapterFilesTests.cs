using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
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

    [Theory, MemberData(nameof(Files))]
    public void The_whole_message_says_what_where_and_what_to_try(string id, int place, string name)
    {
        using var golden = GoldenCase.Open(id);
        var entry = golden.Json.GetProperty("files")[place];
        if (Message(Path.GetFileNameWithoutExtension(name), entry.GetProperty("expected").GetString()!) is not { } pattern) return;   // faults of the container are in BadFilesTests
        using var models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        var (path, options) = (Path.Combine(golden.Folder, name), new AdapterLoadOptions { BaseVersion = "sd_v1" });
        if (entry.GetProperty("level").GetString() == "warning")
        {
            using var adapter = Load(models, path, options);
            Assert.Matches($"^{pattern}$", Assert.Single(adapter.Warnings));
            return;
        }
        Assert.Matches($"^{pattern.Replace("FILE", Regex.Escape(Path.GetFileName(path)), StringComparison.Ordinal)}$", Assert.Throws<CheckpointException>(() => Load(models, path, options)).Message);
    }

    /// <summary>Faults that lie in the file itself, whatever the model.</summary>
    private static readonly HashSet<string> Broken = ["rank_mismatch", "rank_one_up", "missing_up", "alpha_vector", "unknown_suffix"];

    [Theory, MemberData(nameof(Files))]
    public void What_is_wrong_with_a_file_is_told_by_inspect_and_verify_too(string id, int place, string name)
    {
        using var golden = GoldenCase.Open(id);
        var (entry, path, fault) = (golden.Json.GetProperty("files")[place], Path.Combine(golden.Folder, name), Path.GetFileNameWithoutExtension(name));
        if (entry.GetProperty("level").GetString() != "error") return;
        var verified = VerifyAdapter.Run(path, "icons-64");
        var message = Message(fault, "");
        Assert.Equal(message is null || Broken.Contains(fault) ? AdapterVerdict.Unusable : AdapterVerdict.Mismatched, verified.Verdict);
        if (message is null)   // no tensor file: the reader's words
        {
            Assert.Equal([Assert.Throws<CheckpointException>(() => InspectAdapter.Run(path)).Message], verified.Trouble);
            return;
        }
        var trouble = InspectAdapter.Run(path).Trouble;
        if (Broken.Contains(fault)) Assert.Contains(trouble[0], Assert.Single(verified.Trouble), StringComparison.Ordinal);
        if (fault == "nan") AssertNames(entry.GetProperty("expected").GetString()!, string.Join('\n', trouble));
    }

    /// <summary>The message of a case's file as a pattern, with the numbers and names that the case has; null for a fault that is none of an adapter.</summary>
    private static string? Message(string file, string expected)
    {
        const string again = "download or save the adapter again", other = "a base model of the kind the adapter was made for", prefixes = @"keys of this model begin with (lora_\w+_, )*lora_\w+_";
        var line = Regex.Escape(Detail().Replace(expected, "").Replace("module ", "", StringComparison.Ordinal));
        var module = Regex.Escape(line.Split(':')[0]);
        var widths = Widths().Match(expected);
        return file switch
        {
            "no_match" => Frame(Counted().Match(expected) is { Success: true } all ? $@"adapter does not fit this model: {all.Groups[1]} of {all.Groups[1]} keys \({all.Groups[2]} of {all.Groups[2]} modules\) find no module" : "", "keys", @"\S+", prefixes),
            "some_unmatched" => Frame(@"adapter does not fit this model: \d+ of \d+ keys \(1 of \d+ modules\) find no module", "keys", @"\S+", prefixes, "allow unmatched modules, to use the rest"),
            "wrong_shape_in" or "wrong_shape_out" => Frame(@"adapter does not fit this model: 1 of \d+ modules of other shapes", "shapes", line, other),
            "other_base_by_shape" => Frame($@"adapter does not fit this model: (\d+) of \d+ modules of other shapes; it was made for another base: its cross-attention takes text of width {widths.Groups[1]}, this model's {widths.Groups[2]} \(768 is Stable Diffusion 1, 1024 is 2, 2048 is XL\)",
                "shapes", $@"\S+: lora_down has {widths.Groups[1]} input columns, the layer has {widths.Groups[2]}", other),
            "rank_mismatch" or "rank_one_up" or "missing_up" or "alpha_vector" => Frame("adapter cannot be used: 1 problem", "problem", line, again),
            "unknown_suffix" => Frame(@"adapter cannot be used: \d+ problems?", "problem", @"\S+: unknown parameters: \w+(, \w+)*", "a plain LoRA version of the adapter; ignoring them would change the result"),
            "nan" => Frame(@"adapter cannot be used: \d+ modules? not finite", "module", @"\S+: not finite: \d+ (NaN|infinite) in lora_(up|down)", "an earlier save of the adapter: the training diverged, or half precision overflowed"),
            "orphan_alpha" => $"{module}: alpha without factors; it is ignored",
            "alpha_zero" => $@"{module}: alpha 0; read as alpha = rank, as sd-scripts does \(others multiply by 0\)",
            "other_base_by_metadata" => @"the adapter says it was made for Stable Diffusion XL \(ss_base_model_version sdxl_base_v1-0\), this model is Stable Diffusion 1 \(sd_v1\); the shapes fit, the pictures may not",
            _ => null,
        };
    }

    private static string Frame(string head, string word, string line, params string[] tries) =>
        $@"{head}\n  file    FILE \(kohya keys, rank \d+( to \d+)?(; made for [^\n]+)?\)\n  model   \w+(, \w+)*\n  {word,-7} {line}(\n {{10}}{line})*\n  try     {string.Join(@"\n {10}", tries)}\n {{10}}`lora inspect FILE`";

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

    [GeneratedRegex(@" \(must not broadcast\)|(?<=alpha 0)\..*|: warn, ignore")]
    private static partial Regex Detail();

    [GeneratedRegex(@"\((\d+) tensors, (\d+) modules\)")]
    private static partial Regex Counted();

    [GeneratedRegex(@"context width (\d+), this model has (\d+)")]
    private static partial Regex Widths();

    [GeneratedRegex(@"(\d+) modules match, (\d+) does not")]
    private static partial Regex Skipped();
}
