using System.Text.Json;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>What an experiment was begun with: a file in its folder that a resume is held against.</summary>
internal sealed record BenchKidFacts
{
    /// <summary>Options that shape the result, <c>training.steps</c> to its text.</summary>
    public required IReadOnlyDictionary<string, string> Options { get; init; }

    /// <summary>Networks of features: name to identity.</summary>
    public required IReadOnlyDictionary<string, string> Networks { get; init; }
}

/// <summary>The folder of an experiment: the names of its files.</summary>
internal sealed class BenchKidExperiment
{
    private static readonly string[] Free = ["output", "workers", "quick", "pictures", "others"];   // folders may move; what is in them is held against the fingerprint

    private readonly BenchKidFacts? fresh;   // of a new experiment, not written yet

    private BenchKidExperiment(string path, BenchKidFacts? fresh) => (Path, this.fresh) = (System.IO.Path.GetFullPath(path), fresh);

    /// <summary>The folder, absolute.</summary>
    public string Path { get; }

    /// <summary>What it was begun with.</summary>
    private string Facts => File("experiment.json");

    /// <summary>All numbers.</summary>
    public string Results => File("results.json");

    /// <summary>The table, in Markdown.</summary>
    public string Table => File("results.md");

    /// <summary>The plot of KID over the steps.</summary>
    public string Plot => File("kid.png");

    /// <summary>The page for a browser.</summary>
    public string Report => File("report.html");

    /// <summary>Pictures of every arm, side by side.</summary>
    public string Sheet => File("pictures.png");

    /// <summary>A fresh folder for a new experiment, or that of one to go on with. Writes nothing.</summary>
    /// <param name="options">Valid.</param>
    /// <param name="data">The set.</param>
    /// <param name="networks">Identities of the networks of features; null: not looked at.</param>
    /// <param name="resume">Whether there must be one.</param>
    /// <exception cref="OptionsException">There is one already, or none, or one with other options, pictures or networks.</exception>
    public static BenchKidExperiment Open(BenchKidOptions options, BenchKidData data, IReadOnlyDictionary<string, string>? networks, bool resume)
    {
        var values = OptionsOf(options, data);
        var folder = new BenchKidExperiment(options.Output, resume ? null : new BenchKidFacts { Options = values, Networks = networks ?? new Dictionary<string, string>() });
        var begun = System.IO.File.Exists(folder.Facts);
        if (begun && !resume) throw new OptionsException($"the output folder already holds an experiment: {folder.Path}\n  try       to go on with it (--resume), another output folder, or remove the folder");
        if (!begun && resume) throw new OptionsException($"there is no experiment in {folder.Path}\n  looked for  {folder.Facts}\n  try         the folder that it was started with, or start a new one without --resume");
        if (begun) folder.RequireSame(values, networks);
        return folder;
    }

    /// <summary>Keeps the folder to this program until the result is disposed, and notes what a new experiment is begun with.</summary>
    /// <exception cref="OptionsException">It cannot be written, or another program makes the experiment.</exception>
    public FolderLock Begin()
    {
        OutputFolder.RequireWritable(Path);
        var held = FolderLock.Take(Path, "an experiment");
        if (fresh is not null) WholeFile.Write(Facts, JsonSerializer.SerializeToUtf8Bytes(fresh, HubJson.Own));
        return held;
    }

    private void RequireSame(IReadOnlyDictionary<string, string> values, IReadOnlyDictionary<string, string>? networks)
    {
        BenchKidFacts facts;
        try
        {
            facts = JsonSerializer.Deserialize<BenchKidFacts>(System.IO.File.ReadAllText(Facts), HubJson.Own)!;
        }
        catch (JsonException problem)
        {
            throw new CheckpointException($"what the experiment was begun with cannot be read: {problem.Message}; in {Facts}\n  try         a new experiment in another output folder", problem);
        }
        List<(string Name, string? Now, string? Then)> changed =
        [
            .. facts.Options.Keys.Union(values.Keys).Select(name => (name, values.GetValueOrDefault(name), facts.Options.GetValueOrDefault(name))),
            .. networks is null ? [] : facts.Networks.Keys.Union(networks.Keys).Select(name => ($"network of features {name}", networks.GetValueOrDefault(name), facts.Networks.GetValueOrDefault(name))),
        ];
        changed = [.. changed.Where(item => item.Now != item.Then).OrderBy(item => item.Name, StringComparer.Ordinal)];
        if (changed.Count == 0) return;
        throw new OptionsException($"an experiment that goes on keeps its options, and {changed.Count} changed:{string.Concat(changed.Select(item => $"\n  {item.Name}: {item.Now ?? "not set"}; the experiment began with {item.Then ?? "nothing"}"))}\n  try       the old values, or a new experiment in another output folder");
    }

    /// <summary>Every option that shapes the result, and what names the pictures.</summary>
    private static Dictionary<string, string> OptionsOf(BenchKidOptions options, BenchKidData data)
    {
        var (values, table) = (new Dictionary<string, string>(), "");
        foreach (var line in RecipeFile.Write(options).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = line.Split(" = ", 2);
            if (parts.Length == 1) table = line.Trim('[', ']') + ".";
            else if (table.Length > 0 || !Free.Contains(parts[0])) values[table + parts[0]] = parts[1];
        }
        values["the pictures and captions themselves"] = data.Fingerprint();
        if (data.FingerprintOfOthers() is { } others) values["the other pictures and captions themselves"] = others;
        values["the base model itself"] = ModelIdentity.HashOf(options.Model, null, "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae")[..16];   // the embedded one changes with the program
        return values;
    }

    private string File(string name) => System.IO.Path.Combine(Path, name);
}

/// <summary>What an experiment left behind.</summary>
public sealed class BenchKidResult
{
    internal BenchKidResult(string text, BenchKidExperiment folder, double seconds) => (Text, Results, Table, Plot, Report, Seconds) = (text, folder.Results, folder.Table, folder.Plot, folder.Report, seconds);

    /// <summary>The table and what it says, in Markdown.</summary>
    public string Text { get; }

    /// <summary>The file with all numbers.</summary>
    public string Results { get; }

    /// <summary>The file with <see cref="Text"/>.</summary>
    public string Table { get; }

    /// <summary>KID over the steps, as PNG.</summary>
    public string Plot { get; }

    /// <summary>The page about the experiment: opens from disk in any browser.</summary>
    public string Report { get; }

    /// <summary>Wall time of this run.</summary>
    public double Seconds { get; }
}
