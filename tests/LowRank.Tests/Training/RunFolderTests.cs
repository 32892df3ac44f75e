using System.Globalization;
using System.Text;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;

namespace LowRank.Tests.Training;

public class RunFolderTests
{
    private static readonly DateTimeOffset Noon = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    private static readonly TrainingPlan Plan = new()
    {
        Model = "icons-64",
        Family = "Stable Diffusion 1",
        ModelParameters = 7_240_004,
        Data = new DataReport([]),
        Modules = 32,
        Parameters = 212_992,
        AdapterBytes = 425_984,
        Steps = 600,
        Epochs = 120,
        PicturesPerStep = 8,
        MemoryBytes = 600_000_000,
        SecondsPerStep = 0.17,
        Output = "runs/tango",
    };

    private static readonly TrainingEvent[] OneOfEach =
    [
        new RunStarted(Plan, 0) { At = Noon },
        Step(1, 600, 0.25, double.NaN),
        new PreviewWritten(200, "previews/step-000200.png") { At = Noon },
        new RunSaved(200, "adapter-000200.safetensors") { At = Noon },
        new RunWarning("über 77 tokens") { At = Noon },
        new RunStopped(312, "interrupted") { At = Noon },
        new RunFinished(600, "adapter.safetensors", 108.5) { At = Noon },
        HeldOutMeasured.Of(200, [100, 900], [("a.png", [0.5f, 0.25f]), ("b.png", [1, 0.25f])]),
        new NormsMeasured(200, new Dictionary<string, double> { ["unet.mid_block"] = 0.5 }) { At = Noon },
    ];

    [Fact]
    public void A_measure_of_held_out_pictures_holds_its_means_by_timestep_and_by_picture()
    {
        var line = OneOfEach.OfType<HeldOutMeasured>().Single().ToString();
        Assert.StartsWith("""{"event":"held_out","step":200,"loss":0.5,"losses":[0.75,0.25],"timesteps":[100,900],"pictures":[{"picture":"a.png","loss":0.375},{"picture":"b.png","loss":0.625}],"at":""", line, StringComparison.Ordinal);
        Assert.StartsWith("""{"event":"norms","step":200,"norms":{"unet.mid_block":0.5},"at":""", OneOfEach.OfType<NormsMeasured>().Single().ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Events_are_lines_that_say_their_kind_and_read_back_as_they_were()
    {
        using var folder = new TemporaryFolder();
        var run = RunFolder.Create(folder.Path("run"));
        foreach (var item in OneOfEach) run.Append(item);
        Assert.Equal(Lines(OneOfEach), Lines(run.ReadEvents()));
        Assert.Equal(
            """
            {"event":"started","plan":{"model":"icons-64","family":"Stable Diffusion 1","model_warnings":[],"model_parameters":7240004,"data":{"sets":[]},"modules":32,"parameters":212992,"adapter_bytes":425984,"steps":600,"epochs":120,"pictures_per_step":8,"memory_bytes":600000000,"seconds_per_step":0.17,"output":"runs/tango"},"first_step":0,"at":"2026-03-01T12:00:00+00:00"}
            {"event":"step","step":1,"steps":600,"loss":0.25,"smoothed_loss":0.25,"learning_rate":0.001,"gradient_norm":"NaN","seconds":0.5,"memory_bytes":1000000000,"uses":[{"picture":"dogs/a.png","timestep":239,"error":0.5}],"at":"2026-03-01T12:00:00+00:00"}
            """, string.Join('\n', File.ReadLines(run.Events).Take(2)));
    }

    [Fact]
    public void A_last_line_that_a_killed_process_left_unfinished_is_passed_over_and_a_damaged_one_is_named()
    {
        using var folder = new TemporaryFolder();
        var run = RunFolder.Create(folder.Path("run"));
        foreach (var item in OneOfEach) run.Append(item);
        File.AppendAllText(run.Events, "{\"event\":\"step\",\"st");
        Assert.Equal(Lines(OneOfEach), Lines(run.ReadEvents()));
        File.WriteAllText(run.Events, "no event\n");
        Assert.StartsWith($"line 1 of {run.Events} is no event of a run: ", Assert.Throws<CheckpointException>(run.ReadEvents).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_log_cut_back_to_a_state_forgets_the_steps_after_it()
    {
        using var folder = new TemporaryFolder();
        var run = RunFolder.Create(folder.Path("run"));
        foreach (var item in OneOfEach) run.Append(item);
        File.AppendAllText(run.Events, "{\"event\":\"st");
        run.RewindEvents(step: 100);
        Assert.Equal(Lines([OneOfEach[0], OneOfEach[1], OneOfEach[4], OneOfEach[5], OneOfEach[6]]), Lines(run.ReadEvents()));
        run.Append(OneOfEach[2]);
        Assert.Equal(Lines([OneOfEach[2]]), Lines(run.ReadEvents().TakeLast(1)));
    }

    [Theory, InlineData("events.jsonl"), InlineData("recipe.toml"), InlineData("adapter.safetensors")]
    public void A_folder_that_holds_a_run_is_refused_for_another(string mark)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Path(mark), "");
        var problem = Assert.Throws<OptionsException>(() => RunFolder.Create(folder.FullName));
        Assert.Equal(
            $"""
            the output folder already holds a run: {folder.FullName}
              found     {mark}
              try       to resume that run (--resume), another output folder, or remove the folder
            """, problem.Message);
    }

    [Fact]
    public void A_folder_with_other_files_is_taken_and_keeps_them()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Path("notes.txt"), "mine");
        RunFolder.Create(folder.FullName);
        Assert.Equal(["notes.txt"], Directory.GetFileSystemEntries(folder.FullName).Select(Path.GetFileName));
    }

    [Fact]
    public void There_is_nothing_to_go_on_with_in_a_folder_without_a_run()
    {
        using var folder = new TemporaryFolder();
        var problem = Assert.Throws<OptionsException>(() => RunFolder.Open(folder.FullName));
        Assert.Equal(
            $"""
            there is no run in {folder.FullName}
              looked for  {folder.Path("events.jsonl")}
              try         the folder that the run was started with, or start a new run
            """, problem.Message);
    }

    [Fact]
    public void A_disk_that_is_too_full_shows_before_the_run()
    {
        using var folder = new TemporaryFolder();
        var problem = Assert.Throws<OptionsException>(() => RunFolder.Create(folder.Path("run"), neededBytes: 1_000_000_000_000_000));
        Assert.Matches(
            $"""
            ^the disk is too full: \d+ MB are free, about 1000000000 MB are needed
              output    {System.Text.RegularExpressions.Regex.Escape(folder.Path("run"))}
              try       another disk, or a larger save_every and a smaller keep$
            """, problem.Message);
        Assert.False(Directory.Exists(folder.Path("run")));
    }

    [Fact]
    public void Only_the_newest_saved_adapters_are_kept()
    {
        using var folder = new TemporaryFolder();
        var run = RunFolder.Create(folder.Path("run"));
        foreach (var step in new[] { 200, 1_000_000, 400 }) File.WriteAllText(run.SavedAdapter(step), "");
        File.WriteAllText(run.Adapter, "");
        run.KeepNewest(2);
        Assert.Equal([400, 1_000_000], run.SavedSteps());
        Assert.Equal(["adapter-000400.safetensors", "adapter-1000000.safetensors", "adapter.safetensors"], Directory.GetFiles(run.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Only_the_newest_saved_models_are_kept_and_folders_of_other_names_stay()
    {
        using var folder = new TemporaryFolder();
        var run = RunFolder.Create(folder.Path("run"));
        foreach (var path in (string[])[run.SavedModel(200), run.SavedModel(400), run.SavedModel(1_000_000), run.Model, Path.Combine(run.Path, "model-2"), Path.Combine(run.Path, "model-1.5")]) Directory.CreateDirectory(path);
        run.KeepNewest(1);
        Assert.Equal(["model", "model-1.5", "model-1000000", "model-2"], Directory.GetDirectories(run.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_recorder_writes_log_tensorboard_and_plot_and_then_tells_the_listener()
    {
        using var folder = new TemporaryFolder();
        var run = RunFolder.Create(folder.Path("run"));
        var inLogWhenHeard = new List<int>();
        using (var recorder = new RunRecorder(run, new Listener(_ => inLogWhenHeard.Add(run.ReadEvents().Count))))
        {
            recorder.WriteLossPlot();
            Assert.False(File.Exists(run.LossPlot));
            for (var step = 1; step <= 30; step++) recorder.Report(Step(step));
            recorder.WriteLossPlot();
        }
        Assert.Equal(Enumerable.Range(1, 30), inLogWhenHeard);
        var file = Assert.Single(Directory.GetFiles(run.TensorBoard));
        var text = Encoding.Latin1.GetString(File.ReadAllBytes(file));
        foreach (var tag in new[] { "loss", "loss/smoothed", "learning_rate", "gradient_norm" })
        {
            // as in the event file: field 1 of a value is the tag, with its length before it
            Assert.Equal(30, text.Split(string.Create(CultureInfo.InvariantCulture, $"\n{(char)tag.Length}{tag}\u0015")).Length - 1);
        }
        var png = File.ReadAllBytes(run.LossPlot);
        Assert.Equal([0x89, (byte)'P', (byte)'N', (byte)'G'], png[..4]);
        Assert.Equal((900, 500), (png[18] * 256 + png[19], png[22] * 256 + png[23]));
    }

    [Fact]
    public void A_resumed_runs_plot_goes_on_from_the_state_and_not_from_the_steps_after_it()
    {
        using var folder = new TemporaryFolder();
        var run = RunFolder.Create(folder.Path("run"));
        for (var step = 1; step <= 5; step++) run.Append(Step(step));
        using var recorder = new RunRecorder(RunFolder.Open(run.Path), listener: null, resumeFrom: 3);
        recorder.Report(Step(4));
        Assert.Equal([1, 2, 3, 4], run.ReadEvents().Cast<StepFinished>().Select(step => step.Step));
        recorder.WriteLossPlot();
        Assert.True(File.Exists(run.LossPlot));
    }

    private static StepFinished Step(int step) => Step(step, 30, 1.0 / step, 2);

    private static StepFinished Step(int step, int steps, double loss, double norm) => new()
    {
        At = Noon,
        Step = step,
        Steps = steps,
        Loss = loss,
        SmoothedLoss = loss,
        LearningRate = 1e-3,
        GradientNorm = norm,
        Seconds = 0.5,
        MemoryBytes = 1_000_000_000,
        Uses = [new PictureUse("dogs/a.png", 239, 0.5f)],
    };

    /// <summary>Events compare by reference; their lines compare by content.</summary>
    private static IEnumerable<string> Lines(IEnumerable<TrainingEvent> events) => events.Select(item => item.ToString());
}
