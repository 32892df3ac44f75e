namespace LowRank.Training;

/// <summary>
/// Where a run's events go: into the folder's log and TensorBoard file, then to whoever listens. Keeps the steps for the loss plot.
/// Everything is written when <see cref="Report"/> returns.
/// </summary>
internal sealed class RunRecorder : IProgress<TrainingEvent>, IDisposable
{
    private readonly RunFolder folder;
    private readonly IProgress<TrainingEvent>? listener;
    private readonly TensorBoardLog tensorBoard;
    private readonly List<StepFinished> steps = [];
    private readonly HashSet<long> measured = [];

    /// <summary>Records a run.</summary>
    /// <param name="folder">Its folder.</param>
    /// <param name="listener">Hears every event after it is written.</param>
    /// <param name="resumeFrom">Steps of the state that a resumed run goes on from: what the log says of later ones is taken out. Null for a new run.</param>
    public RunRecorder(RunFolder folder, IProgress<TrainingEvent>? listener, long? resumeFrom = null)
    {
        (this.folder, this.listener) = (folder, listener);
        if (resumeFrom is { } step)
        {
            folder.RewindEvents(step);
            var old = folder.ReadEvents();
            steps.AddRange(old.OfType<StepFinished>());
            measured.UnionWith(old.OfType<HeldOutMeasured>().Select(item => item.Step));
        }
        tensorBoard = new TensorBoardLog(folder.TensorBoard);
        foreach (var made in steps) tensorBoard.GoOnFrom(made);
    }

    /// <inheritdoc/>
    public void Report(TrainingEvent value)
    {
        folder.Append(value);
        switch (value)
        {
            case StepFinished step:
                steps.Add(step);
                tensorBoard.Add(step);
                break;
            case HeldOutMeasured held:
                measured.Add(held.Step);
                tensorBoard.Add(held);
                break;
            case NormsMeasured norms:
                tensorBoard.Add(norms);
                break;
            case RunSaved saved:
                tensorBoard.AddPictures(PictureDifficulty.Of([.. steps.SelectMany(step => step.Uses)]), saved.Step);
                break;
        }
        listener?.Report(value);
    }

    /// <summary>Whether held-out pictures were measured after so many updates, now or before the run was resumed.</summary>
    public bool HasMeasured(long step) => measured.Contains(step);

    /// <summary>Writes the plot of the steps so far; nothing when there is none.</summary>
    public void WriteLossPlot()
    {
        if (steps.Count > 0) LossPlot.Write(folder.LossPlot, steps);
    }

    /// <inheritdoc/>
    public void Dispose() => tensorBoard.Dispose();
}
