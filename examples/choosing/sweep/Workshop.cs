using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Examples.Choosing;

/// <summary>Makes single trainings, each an ordinary run in an ordinary run folder.</summary>
/// <param name="model">The base.</param>
/// <param name="output">Folder of the sweep.</param>
internal sealed class Workshop(string model, string output)
{
    private const string Recipe = "examples/choosing/recipe.toml", EmojiFolder = "emoji";
    private const int UncountedSteps = 20;

    /// <summary>What came of a training; null while it is not made.</summary>
    /// <exception cref="SweepException">The file cannot be read.</exception>
    public CellResult? Made(Cell cell)
    {
        var path = ResultPath(cell);
        if (!File.Exists(path)) return null;
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(path), ResultJson.Default.CellResult)!;
        }
        catch (JsonException problem)
        {
            throw new SweepException($"what came of a training cannot be read: {problem.Message}; in {path}\n  try         to remove that file: the training is then made again");
        }
    }

    /// <summary>Makes it where it is not made yet. A training that was cut off is made from its beginning: it is short.</summary>
    public CellResult Make(Cell cell)
    {
        if (Made(cell) is { } made) return made;
        var (run, watch, diverged) = (RunOf(cell), Stopwatch.StartNew(), false);
        if (Directory.Exists(run)) Directory.Delete(run, recursive: true);
        IReadOnlyList<string> folder = cell.Pictures is { } count ? [$"data[0].folder={SmallSet(count)}"] : [];
        var options = TrainLoraOptions.Read(Recipe, [$"model={model}", .. cell.Settings, .. folder], run);
        try
        {
            TrainLora.Run(options);
        }
        catch (TrainingDivergedException)
        {
            diverged = true;
        }
        var result = Measured(cell, IconsIn(options).Count, RunFolder.Open(run).ReadEvents(), diverged) with { Seconds = watch.Elapsed.TotalSeconds };
        var draft = ResultPath(cell) + ".part";
        File.WriteAllText(draft, JsonSerializer.Serialize(result, ResultJson.Default.CellResult) + "\n");
        File.Move(draft, ResultPath(cell), overwrite: true);   // from here on it is made
        return result;
    }

    private static CellResult Measured(Cell cell, int icons, IReadOnlyList<TrainingEvent> events, bool diverged)
    {
        var plan = events.OfType<RunStarted>().Single().Plan;
        var measures = events.OfType<HeldOutMeasured>().DistinctBy(measure => measure.Step).ToList();
        var heldOut = measures[0].Pictures.Count(picture => !IsEmoji(picture));
        var times = events.OfType<StepFinished>().Skip(UncountedSteps).Select(step => 1000 * step.Seconds).Order().ToList();
        return new CellResult
        {
            Cell = cell.Name,
            Settings = cell.Settings,
            Pictures = icons - heldOut,
            HeldOutPictures = heldOut,
            EmojiPictures = measures[0].Pictures.Count(IsEmoji),
            Parameters = plan.Parameters,
            FileBytes = plan.AdapterBytes,
            StepMilliseconds = times.Count > 0 ? times[times.Count / 2] : 0,
            Diverged = diverged,
            Seconds = 0,
            Moments = [.. measures.Select(measure => new Moment((int)measure.Step, measure.Pictures.Where(picture => !IsEmoji(picture)).Average(picture => picture.Loss), measure.Pictures.Where(IsEmoji).Average(picture => picture.Loss)))],
        };
    }

    private static bool IsEmoji(HeldOutPictureLoss picture) => picture.Picture.Split('/') is [.., EmojiFolder, _];

    /// <summary>
    /// A folder with the held-out icons and so many of the others, evenly spaced in the order of their names. Since names decide which are held out,
    /// a run with this folder holds out the same icons.
    /// </summary>
    private string SmallSet(int count)
    {
        var folder = Path.GetFullPath(Path.Combine(output, "sets", string.Create(CultureInfo.InvariantCulture, $"pictures-{count}")));
        if (Directory.Exists(folder)) return folder;
        if (Made(Cell.Usual) is null) throw new SweepException($"a training with {count} pictures waits for {Cell.Usual.Name}, whose log says which pictures are held out\n  try         to make that first: --cell {Cell.Usual.Name}");
        var heldOut = RunFolder.Open(RunOf(Cell.Usual)).ReadEvents().OfType<HeldOutMeasured>().First().Pictures.Select(picture => Path.GetFileName(picture.Picture)).ToHashSet();
        var all = IconsIn(TrainLoraOptions.Read(Recipe));
        var others = all.Where(path => !heldOut.Contains(Path.GetFileName(path))).ToList();
        var chosen = Enumerable.Range(0, count).Select(at => others[(2 * at + 1) * others.Count / (2 * count)]);
        var draft = string.Create(CultureInfo.InvariantCulture, $"{folder}.{Environment.ProcessId}");
        Directory.CreateDirectory(draft);
        foreach (var picture in all.Where(path => heldOut.Contains(Path.GetFileName(path))).Concat(chosen))
        {
            foreach (var file in new[] { picture, Path.ChangeExtension(picture, ".txt") }) File.Copy(file, Path.Combine(draft, Path.GetFileName(file)), overwrite: true);
        }
        try
        {
            Directory.Move(draft, folder);
        }
        catch (IOException) when (Directory.Exists(folder))   // another process was quicker, with the same pictures
        {
            Directory.Delete(draft, recursive: true);
        }
        return folder;
    }

    /// <summary>The pictures of the set, held-out ones among them, in the order of their names.</summary>
    private static List<string> IconsIn(TrainLoraOptions options) => [.. Directory.GetFiles(options.Data[0].Folder, "*.png", SearchOption.AllDirectories).OrderBy(Path.GetFileName, StringComparer.Ordinal)];

    private string RunOf(Cell cell) => Path.Combine(output, "cells", cell.Name, "run");

    private string ResultPath(Cell cell) => Path.Combine(output, "cells", cell.Name, "cell.json");
}
