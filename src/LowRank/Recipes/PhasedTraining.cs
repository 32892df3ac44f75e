using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>One stretch of a run with parameters, rates and schedule of its own.</summary>
/// <param name="Parameters">What it moves.</param>
/// <param name="Schedule">Over the steps of the whole run.</param>
/// <param name="LastStep">Of the whole run, at which it ends.</param>
/// <param name="Adapter">The adapter that it moves, with its options; null for none.</param>
internal sealed record TrainingPhase(TrainedParameters Parameters, LearningRateSchedule Schedule, long LastStep, (AdapterSet Set, AdapterOptions Options)? Adapter = null);

/// <summary>
/// Runs phases one after the other with the one loop. Steps, batches and random streams go on through all of them; each begins with an optimizer of its own.
/// A resumed run begins in the phase whose state was saved. Owns the optimizers, since a run that stops between phases still saves the last one's state.
/// </summary>
internal sealed class PhasedTraining(IRunOptions options, TrainingRun run, RandomStreams streams, IDiffusionFamily family, BatchSampler sampler) : IDisposable
{
    private readonly List<IOptimizer> optimizers = [];
    private readonly List<MovingAverage> averages = [];
    private LoopPosition position;
    private SamplerState? drawn;
    private AdapterSet? adapter;
    private TrainingLoop? running;
    private bool restored;

    /// <summary>Whether the moving average of the phase with an adapter, where one is kept, is what is written and drawn with.</summary>
    public bool OutputsAverage { get; init; }

    /// <summary>What is measured now and then of what is trained, as <see cref="TrainingRun.Watch"/> takes it.</summary>
    public Func<IReadOnlyDictionary<string, double>>? Norms { get; init; }

    /// <summary>Updates made, in all phases.</summary>
    public long Step => position.Step;

    /// <summary>Begins a phase: from then on everything that is trained has the values that it starts from.</summary>
    /// <param name="phase">The phase; of a resumed run first the one whose state was saved.</param>
    public TrainingLoop Begin(TrainingPhase phase)
    {
        var training = options.Training;
        var optimizer = training.MakeOptimizer(phase.Parameters);
        optimizers.Add(optimizer);
        adapter = phase.Adapter?.Set;
        var average = phase.Adapter is null ? null : training.MakeAverage(phase.Parameters);   // the words of the first phase are handed on as they are
        if (average is not null) averages.Add(average);
        var loop = running = new TrainingLoop(optimizer, phase.Schedule, training.LoopOptions(phase.LastStep), average)
        {
            Position = position,
            LimitNorms = phase.Adapter is { } limited ? WeightNorms.By(limited.Set, limited.Options) : null,
            Absent = phase.Adapter is { } dropping ? dropping.Set.TakeAbsent : null,
        };
        if (drawn is not null) sampler.Restore(drawn);   // the phase before may have planned batches ahead
        if (!restored) run.Restore(loop, streams, sampler);
        restored = true;
        position = loop.Position;
        return loop;
    }

    /// <summary>Runs a phase to its end.</summary>
    /// <param name="loop">As <see cref="Begin"/> gave it.</param>
    /// <param name="data">What it learns from.</param>
    /// <param name="textLearns">Whether gradients go back into the text encoders now.</param>
    /// <param name="after">Called after every update.</param>
    /// <param name="cancellation">Stops after the running step.</param>
    /// <returns>False when it was stopped.</returns>
    public bool Run(TrainingLoop loop, EncodedData data, Func<bool> textLearns, Action<TrainingLoop, SamplerState> after, CancellationToken cancellation)
    {
        run.Watch(Validation.Of(options, family, data, adapter, UseForOutput), loop.Position.Step, Norms);
        var step = new DenoisingStep(options, family, streams, data.Batches(sampler, textLearns), adapter);
        var finished = loop.Run(step.Score, _ => after(loop, step.Drawn!), run, cancellation);
        (position, drawn) = (loop.Position, step.Drawn ?? drawn);
        return finished;
    }

    /// <summary>Puts the values to save and to draw with into the parameters of the running phase, until disposed.</summary>
    public IDisposable UseForOutput() => running!.UseForOutput(OutputsAverage);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var optimizer in optimizers) optimizer.Dispose();
        foreach (var average in averages) average.Dispose();
    }
}
