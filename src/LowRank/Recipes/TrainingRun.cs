using LowRank.Data;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>
/// The outside of a training run: its folder, log, saved results and states. A new run leaves nothing behind until it has something to keep;
/// one that was cut off goes on from its newest state.
/// </summary>
internal sealed class TrainingRun : IProgress<TrainingEvent>, IDisposable
{
    private const int NormsOfARun = 50;
    private const int KeptStates = 2;   // the newest, and the one before in case the newest is not wanted

    private readonly IRunOptions options;
    private readonly IProgress<TrainingEvent>? listener;
    private readonly bool resume;
    private readonly TrainingState? old;
    private RunRecorder? recorder;
    private IReadOnlyDictionary<string, string> fixedOptions = new Dictionary<string, string>();
    private Action<string, long> writeResult = (_, _) => throw new InvalidOperationException("the run has not begun");
    private (TrainingLoop Loop, LoopPosition Position, IReadOnlyDictionary<string, byte[]> Streams, SamplerState Data)? reached;
    private Validation? validation;
    private Func<IReadOnlyDictionary<string, double>>? norms;
    private bool keep;

    private TrainingRun(IRunOptions options, IProgress<TrainingEvent>? listener, bool resume, RunFolder folder)
    {
        (this.options, this.listener, this.resume, Folder) = (options, listener, resume, folder);
        old = resume ? TrainingState.OpenNewest(folder.State) : null;
        keep = resume;
    }

    public RunFolder Folder { get; }

    /// <summary>The step whose state a resumed run goes on from; null for a run from the start.</summary>
    public long? ResumesAt => old?.Position.Step;

    /// <summary>Where the result goes.</summary>
    private string ResultPath => options.MakesModel ? Folder.Model : Folder.Adapter;

    /// <summary>Where a save of a step goes: the result as it is then, or the state where that is all.</summary>
    private string Saved(long step) => !options.SavesResult ? Folder.SavedState(step) : options.MakesModel ? Folder.SavedModel(step) : Folder.SavedAdapter(step);

    /// <summary>Looks for the folder before anything slow is done: a new run wants one without a run, a resumed one wants its own. Writes nothing.</summary>
    /// <param name="options">Valid.</param>
    /// <param name="resume">Whether to go on with the run in the folder.</param>
    /// <param name="listener">Hears every event.</param>
    /// <exception cref="OptionsException">The folder is used, or holds no run.</exception>
    public static TrainingRun Open(IRunOptions options, bool resume, IProgress<TrainingEvent>? listener) =>
        new(options, listener, resume, resume ? RunFolder.Open(options.Output) : RunFolder.ForNew(options.Output));

    /// <summary>Checks what can still be checked, then claims the folder and says what is going to happen.</summary>
    /// <param name="plan">What is going to happen.</param>
    /// <param name="data">The pictures: a resumed run goes on with the same ones.</param>
    /// <param name="write">Writes the result as it is now to a path, for a number of steps.</param>
    /// <exception cref="OptionsException">A resumed run with other options or data, a folder that cannot be written, a disk too full.</exception>
    public void Begin(TrainingPlan plan, TrainingData data, Action<string, long> write)
    {
        writeResult = write;
        fixedOptions = ResumedOptions.Of(options, data);
        old?.RequireSameOptions(fixedOptions);
        Folder.RequireWritable(RunEstimate.DiskBytes(options, plan));
        if (!resume) WholeFile.Write(Folder.Recipe, System.Text.Encoding.UTF8.GetBytes(RecipeFile.Write(options)));
        var first = old?.Position.Step ?? 0;
        recorder = new RunRecorder(Folder, listener, resume ? first : null);
        Report(new RunStarted(plan, first));
        if (resume && old is null) Report(new RunWarning("the run to go on with was cut off before its first save; it starts from its first step"));
    }

    /// <summary>Puts everything into the saved state; does nothing in a new run.</summary>
    public void Restore(TrainingLoop loop, RandomStreams streams, BatchSampler sampler)
    {
        if (old is null) return;
        old.Restore(loop, streams);
        sampler.Restore(old.Data);
        Reach(loop, streams, old.Data);
    }

    /// <summary>Measures from now on: held-out pictures at once where it is due and the log has no measure of this step, then after updates; norms after updates.</summary>
    /// <param name="held">Null for none.</param>
    /// <param name="step">Updates made.</param>
    /// <param name="length">How far what is trained has gone, by block (<see cref="NormsMeasured"/>); null where that cannot be told cheaply.</param>
    public void Watch(Validation? held, long step, Func<IReadOnlyDictionary<string, double>>? length = null)
    {
        (validation, norms) = (held, length);
        Measure(step);
    }

    private void Measure(long step)
    {
        if (validation?.IsDue(step) == true && !recorder!.HasMeasured(step)) Report(validation.Measure(step));
    }

    /// <summary>Notes that a step is complete: what a save would hold from now on.</summary>
    private void Reach(TrainingLoop loop, RandomStreams streams, SamplerState data) => reached = (loop, loop.Position, streams.Save(), data);

    /// <summary>Writes state and result of the last complete step.</summary>
    private void Save()
    {
        if (reached is not var (loop, position, streams, data)) return;
        var step = position.Step;
        keep = true;
        using (var state = TrainingState.Of(loop, streams, data, fixedOptions, position)) state.Save(Folder.State, KeptStates);
        var path = Saved(step);
        if (options.SavesResult) writeResult(path, step);
        Folder.KeepNewest(options.Training.Keep);
        Report(new RunSaved(step, path));
        RunReport.Write(Folder);   // so that a long run can be looked at
    }

    /// <summary>After every update: notes it, measures, saves and draws previews where the options say so.</summary>
    public void AfterStep(TrainingLoop loop, RandomStreams streams, SamplerState data, IPreviews previews, CancellationToken cancellation)
    {
        var (made, training, last) = (loop.Position.Step, options.Training, loop.Position.Step == options.TotalSteps);
        Reach(loop, streams, data);
        Measure(made);
        if (norms is not null && (made % Math.Max(1, options.TotalSteps / NormsOfARun) == 0 || last)) Report(new NormsMeasured(made, norms()));
        if (training.SaveEvery > 0 && made % training.SaveEvery == 0 || last) Save();
        if (options.Preview.Every == 0 || made % options.Preview.Every != 0 || last) return;
        if (!previews.Write(Folder, made, cancellation)) return;
        Report(new PreviewWritten(made, Folder.Preview(made)));
        RunReport.Write(Folder);
    }

    /// <summary>Runs a loop; where it fails, what it reached is kept first.</summary>
    /// <exception cref="OperationCanceledException">It was stopped before its first step: there is nothing to save.</exception>
    public bool Guard(Func<bool> loop)
    {
        try
        {
            var finished = loop();
            return finished || reached is not null ? finished : throw new OperationCanceledException("stopped before the first step");
        }
        catch (Exception problem)
        {
            Fail(problem);
            throw;
        }
    }

    /// <summary>What the run left behind.</summary>
    public TrainingResult Result(bool finished, long steps, TimeSpan time, string? sheet, IReadOnlyList<string> prompts) => new()
    {
        Finished = finished,
        Steps = steps,
        Seconds = time.TotalSeconds,
        Adapter = finished ? ResultPath : Saved(steps),
        BeforeAfter = sheet,
        LossPlot = Folder.LossPlot,
        Report = Folder.Report,
        ExamplePrompt = prompts is [var first, ..] ? first : null,
    };

    /// <summary>Ends a run that failed: keeps what it reached, and the reason in its log.</summary>
    private void Fail(Exception problem)
    {
        if (reached is not var (_, position, _, _)) return;
        Quietly(Save);   // where that fails an older state stays
        Quietly(() => Report(new RunStopped(position.Step, problem.Message)));
        Quietly(() => RunReport.Write(Folder));
    }

    /// <summary>Does what a failed run still can; a second problem, such as the same full disk, must not hide the first.</summary>
    private static void Quietly(Action work)
    {
        try
        {
            work();
        }
        catch (Exception second) when (second is LowRankException or IOException or UnauthorizedAccessException)
        {
            // the first problem is the one to tell of
        }
    }

    /// <summary>Ends a run that made all its steps, or was asked to stop: plot, adapter, the last word of the log, and the page.</summary>
    public void End(bool finished, long steps, TimeSpan time)
    {
        recorder!.WriteLossPlot();
        if (finished)
        {
            writeResult(ResultPath, steps);
            Report(new RunFinished(steps, ResultPath, time.TotalSeconds));
        }
        else
        {
            Save();
            Report(new RunStopped(steps, "interrupted"));
        }
        RunReport.Write(Folder);
    }

    /// <summary>Into the log, and to the listener; before <see cref="Begin"/> there is no log yet.</summary>
    public void Report(TrainingEvent value)
    {
        if (recorder is not null) recorder.Report(value);
        else listener?.Report(value);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        old?.Dispose();
        recorder?.Dispose();
        if (recorder is not null && !keep) Folder.RemoveTraces();
    }
}
