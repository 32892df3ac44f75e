using System.Globalization;
using System.Text;
using System.Text.Json;
using LowRank.Foundation;

namespace LowRank.Training;

/// <summary>
/// The folder of one run: the names of its files, and its events. A run is nothing but this folder; whoever shows a run reads it.
/// </summary>
public sealed class RunFolder
{
    private RunFolder(string path) => Path = System.IO.Path.GetFullPath(path);

    /// <summary>The folder, absolute.</summary>
    public string Path { get; }

    /// <summary>The recipe as resolved, every default written out.</summary>
    public string Recipe => File("recipe.toml");

    /// <summary>One JSON line an event.</summary>
    public string Events => File("events.jsonl");

    /// <summary>The result.</summary>
    public string Adapter => File("adapter.safetensors");

    /// <summary>The result of a method that trains whole models: a folder in the diffusers layout.</summary>
    public string Model => File("model");

    /// <summary>The adapter of a method that learns tokens with it, without them.</summary>
    internal string AdapterAlone => File("lora.safetensors");

    /// <summary>The plot of the loss.</summary>
    public string LossPlot => File("loss.png");

    /// <summary>The same seeds without and with the adapter.</summary>
    public string BeforeAfter => File("before-after.png");

    /// <summary>The run as one page for a browser.</summary>
    public string Report => File("report.html");

    /// <summary>Folder of the TensorBoard event files.</summary>
    public string TensorBoard => File("tensorboard");

    /// <summary>Folder of what a resume needs.</summary>
    internal string State => File("state");

    /// <summary>Folder of cached latents and text states.</summary>
    internal string Cache => File("cache");

    /// <summary>The adapter saved after a step: adapter-000200.safetensors.</summary>
    public string SavedAdapter(long step) => File($"adapter-{Number(step)}.safetensors");

    /// <summary>The model saved after a step, where the recipe asks for it: model-000200.</summary>
    public string SavedModel(long step) => File($"model-{Number(step)}");

    /// <summary>What a resume needs, as of a step.</summary>
    internal string SavedState(long step) => File(System.IO.Path.Combine("state", $"step-{Number(step)}"));

    /// <summary>The file of a learned token: embeddings/my-style.safetensors.</summary>
    internal string Embedding(string file) => File(System.IO.Path.Combine("embeddings", file));

    /// <summary>The preview sheet made after a step: previews/step-000200.png.</summary>
    public string Preview(long step) => File(System.IO.Path.Combine("previews", $"step-{Number(step)}.png"));

    /// <summary>All previews on one sheet, prompts across and steps down; grows while the run goes on.</summary>
    public string PreviewSheet => File("previews.png");

    /// <summary>Steps of the previews, first one first.</summary>
    internal IReadOnlyList<long> PreviewSteps() => !Directory.Exists(File("previews")) ? [] :
        [.. Directory.GetFiles(File("previews"), "step-*.png").Select(StepOf).OfType<long>().Order()];

    /// <summary>A fresh folder for a new run; made where it does not exist.</summary>
    /// <param name="path">The folder. It may exist and hold other files, but no run.</param>
    /// <param name="neededBytes">Estimate of everything that the run will write, so that a full disk shows now.</param>
    /// <exception cref="OptionsException">The folder holds a run, cannot be written, or the disk is too full.</exception>
    internal static RunFolder Create(string path, long neededBytes = 0)
    {
        var run = ForNew(path);
        run.RequireWritable(neededBytes);
        return run;
    }

    /// <summary>The folder of a new run, not made yet.</summary>
    /// <exception cref="OptionsException">The folder holds a run.</exception>
    internal static RunFolder ForNew(string path)
    {
        var run = new RunFolder(path);
        run.RefuseUsed();
        return run;
    }

    /// <summary>The folder of a run that is to go on, or to be looked at.</summary>
    /// <exception cref="OptionsException">There is no run in it.</exception>
    public static RunFolder Open(string path)
    {
        var run = new RunFolder(path);
        return System.IO.File.Exists(run.Events) ? run : throw new OptionsException(
            $"""
            there is no run in {path}
              looked for  {run.Events}
              try         the folder that the run was started with, or start a new run
            """);
    }

    /// <summary>Tries what the run will do: see <see cref="OutputFolder"/>.</summary>
    /// <exception cref="OptionsException">It does not work, with the reason.</exception>
    internal void RequireWritable(long neededBytes) => OutputFolder.RequireWritable(Path, neededBytes, "a larger save_every and a smaller keep");

    /// <summary>Adds an event as one line, on disk before this returns.</summary>
    internal void Append(TrainingEvent @event)
    {
        var line = JsonSerializer.SerializeToUtf8Bytes(@event, TrainingJson.Default.TrainingEvent);
        using var stream = new FileStream(Events, FileMode.Append, FileAccess.Write, FileShare.ReadWrite);
        stream.Write([.. line, (byte)'\n']);
    }

    /// <summary>Every event so far, oldest first. A last line that a killed process left unfinished is passed over.</summary>
    /// <exception cref="CheckpointException">A line in the middle is no event.</exception>
    public IReadOnlyList<TrainingEvent> ReadEvents()
    {
        using var stream = new FileStream(Events, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        var text = reader.ReadToEnd();
        var complete = text[..(text.LastIndexOf('\n') + 1)];
        var events = new List<TrainingEvent>();
        foreach (var line in complete.Split('\n', StringSplitOptions.RemoveEmptyEntries)) events.Add(Parse(line, events.Count + 1));
        return events;
    }

    /// <summary>
    /// Cuts the log back to the state that a resumed run goes on from: the events of steps after it are taken out, because these steps
    /// are made again. An unfinished last line goes with them.
    /// </summary>
    internal void RewindEvents(long step)
    {
        var kept = ReadEvents().Where(item => item switch
        {
            StepFinished finished => finished.Step <= step,
            PreviewWritten preview => preview.Step <= step,
            ReconstructionMeasured measured => measured.Step <= step,
            HeldOutMeasured measured => measured.Step <= step,
            NormsMeasured norms => norms.Step <= step,
            RunSaved saved => saved.Step <= step,
            _ => true,
        });
        var lines = kept.SelectMany(item => (byte[])[.. JsonSerializer.SerializeToUtf8Bytes(item, TrainingJson.Default.TrainingEvent), (byte)'\n']).ToArray();
        WholeFile.Write(Events, lines);
    }

    /// <summary>Steps of the saved adapters, oldest first.</summary>
    public IReadOnlyList<long> SavedSteps() =>
        [.. Directory.GetFiles(Path, "adapter-*.safetensors").Select(StepOf).OfType<long>().Order()];

    /// <summary>Removes all but the newest <paramref name="keep"/> saved adapters, and saved models.</summary>
    internal void KeepNewest(int keep)
    {
        foreach (var step in SavedSteps().SkipLast(keep)) System.IO.File.Delete(SavedAdapter(step));
        var models = Directory.GetDirectories(Path, "model-*").Where(path => StepOf(path) is { } step && path == SavedModel(step)).OrderBy(StepOf);   // model-2 is somebody else's
        foreach (var model in models.SkipLast(keep)) Directory.Delete(model, recursive: true);
    }

    /// <summary>Removes what a new run writes before its first save, and the folder where nothing else is in it: as if it had never begun.</summary>
    internal void RemoveTraces()
    {
        System.IO.File.Delete(Recipe);
        System.IO.File.Delete(Events);
        if (Directory.Exists(TensorBoard)) Directory.Delete(TensorBoard, recursive: true);
        if (!Directory.EnumerateFileSystemEntries(Path).Any()) Directory.Delete(Path);
    }

    private void RefuseUsed()
    {
        string[] marks = [Events, Adapter, Model, State, Recipe];
        if (marks.FirstOrDefault(System.IO.Path.Exists) is not { } mark) return;
        throw new OptionsException(
            $"""
            the output folder already holds a run: {Path}
              found     {System.IO.Path.GetFileName(mark)}
              try       to resume that run (--resume), another output folder, or remove the folder
            """);
    }

    private TrainingEvent Parse(string line, int number)
    {
        try
        {
            return JsonSerializer.Deserialize(line, TrainingJson.Default.TrainingEvent)!;
        }
        catch (JsonException problem)
        {
            throw new CheckpointException(string.Create(CultureInfo.InvariantCulture, $"line {number} of {Events} is no event of a run: {problem.Message}"), problem);
        }
    }

    private string File(string name) => System.IO.Path.Combine(Path, name);

    private static string Number(long step) => step.ToString("D6", CultureInfo.InvariantCulture);

    private static long? StepOf(string path) =>
        long.TryParse(System.IO.Path.GetFileNameWithoutExtension(path).Split('-')[^1], NumberStyles.None, CultureInfo.InvariantCulture, out var step) ? step : null;
}
