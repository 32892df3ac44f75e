using System.Text.Json.Serialization;

namespace LowRank.Training;

/// <summary>
/// What a run tells while it goes: a closed set of small records, reported through <see cref="IProgress{T}"/> and kept as one line each in
/// the run folder's <c>events.jsonl</c>, where <c>event</c> names the kind.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "event")]
[JsonDerivedType(typeof(RunStarted), "started")]
[JsonDerivedType(typeof(PictureEncoded), "encoded")]
[JsonDerivedType(typeof(StepFinished), "step")]
[JsonDerivedType(typeof(PreviewWritten), "preview")]
[JsonDerivedType(typeof(RunSaved), "saved")]
[JsonDerivedType(typeof(RunWarning), "warning")]
[JsonDerivedType(typeof(RunFinished), "done")]
[JsonDerivedType(typeof(RunStopped), "stopped")]
public abstract record TrainingEvent
{
    private protected TrainingEvent() { }

    /// <summary>When it happened.</summary>
    public DateTimeOffset At { get; init; } = DateTimeOffset.UtcNow;
}

/// <summary>Everything is open and checked; the first step comes next.</summary>
/// <param name="Plan">What is going to happen.</param>
/// <param name="FirstStep">Steps already made: 0, or where a resumed run goes on.</param>
public sealed record RunStarted(TrainingPlan Plan, long FirstStep) : TrainingEvent;

/// <summary>A picture was turned into latents, before the first step. Those found in the cache are not told of.</summary>
/// <param name="Picture">Which, from 1.</param>
/// <param name="Pictures">How many there are, mirrored ones counted.</param>
public sealed record PictureEncoded(int Picture, int Pictures) : TrainingEvent;

/// <summary>One optimizer update.</summary>
/// <param name="Step">Updates made so far, this one included: 1 is the first.</param>
/// <param name="Steps">Updates of the whole run.</param>
/// <param name="Loss">Mean over the micro-batches of the step.</param>
/// <param name="SmoothedLoss">Exponential average over about the last 50 steps, corrected for its start.</param>
/// <param name="LearningRate">Of the first parameter group, schedule included, as used by this update.</param>
/// <param name="GradientNorm">Over all trained parameters together, before clipping.</param>
/// <param name="Seconds">Wall time of the step.</param>
/// <param name="MemoryBytes">Resident memory of the process after it.</param>
public sealed record StepFinished(
    long Step, long Steps, double Loss, double SmoothedLoss, double LearningRate, double GradientNorm, double Seconds, long MemoryBytes) : TrainingEvent;

/// <summary>A preview was generated.</summary>
/// <param name="Step">Updates made so far.</param>
/// <param name="Path">The picture.</param>
public sealed record PreviewWritten(long Step, string Path) : TrainingEvent;

/// <summary>The adapter was written, and with it the state that a resume needs.</summary>
/// <param name="Step">Updates made so far.</param>
/// <param name="Path">The adapter file.</param>
public sealed record RunSaved(long Step, string Path) : TrainingEvent;

/// <summary>Something that does not stop the run but that its user should know.</summary>
/// <param name="Text">One paragraph: what, where, what to try.</param>
public sealed record RunWarning(string Text) : TrainingEvent;

/// <summary>The run made all its steps and wrote its adapter.</summary>
/// <param name="Steps">Updates made.</param>
/// <param name="Adapter">The adapter file.</param>
/// <param name="Seconds">Wall time of this run, from its first step.</param>
public sealed record RunFinished(long Steps, string Adapter, double Seconds) : TrainingEvent;

/// <summary>The run ended before its last step, with a saved state to go on from.</summary>
/// <param name="Step">Updates made.</param>
/// <param name="Reason">Why: interrupted, or what went wrong.</param>
public sealed record RunStopped(long Step, string Reason) : TrainingEvent;
