using System.Text.Json;
using System.Text.Json.Serialization;

namespace LowRank.Training;

/// <summary>
/// What a run tells while it goes: a closed set of small classes, reported through <see cref="IProgress{T}"/> and kept as one line each in
/// the run folder's <c>events.jsonl</c>, where <c>event</c> names the kind. Only a run makes them, so a kind can tell more in a later version.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "event")]
[JsonDerivedType(typeof(RunStarted), "started")]
[JsonDerivedType(typeof(PriorDrawn), "prior")]
[JsonDerivedType(typeof(PictureEncoded), "encoded")]
[JsonDerivedType(typeof(StepFinished), "step")]
[JsonDerivedType(typeof(HeldOutMeasured), "held_out")]
[JsonDerivedType(typeof(NormsMeasured), "norms")]
[JsonDerivedType(typeof(PreviewWritten), "preview")]
[JsonDerivedType(typeof(ReconstructionMeasured), "reconstruction")]
[JsonDerivedType(typeof(RunSaved), "saved")]
[JsonDerivedType(typeof(RunWarning), "warning")]
[JsonDerivedType(typeof(RunFinished), "done")]
[JsonDerivedType(typeof(RunStopped), "stopped")]
public abstract class TrainingEvent
{
    private protected TrainingEvent() { }

    /// <summary>When it happened.</summary>
    [JsonInclude]
    public DateTimeOffset At { get; internal init; } = DateTimeOffset.UtcNow;

    /// <summary>The event as the log holds it: one line of JSON.</summary>
    public override string ToString() => JsonSerializer.Serialize(this, TrainingJson.Default.TrainingEvent);
}

/// <summary>Everything is open and checked; the first step comes next.</summary>
public sealed class RunStarted : TrainingEvent
{
    [JsonConstructor]
    internal RunStarted(TrainingPlan plan, long firstStep) => (Plan, FirstStep) = (plan, firstStep);

    /// <summary>What is going to happen.</summary>
    public TrainingPlan Plan { get; }

    /// <summary>Steps already made: 0, or where a resumed run goes on.</summary>
    public long FirstStep { get; }
}

/// <summary>The base drew a prior picture, before the run has a log: only listeners hear of it. Those that were there already are not told of.</summary>
public sealed class PriorDrawn : TrainingEvent
{
    [JsonConstructor]
    internal PriorDrawn(int picture, int pictures, string folder) => (Picture, Pictures, Folder) = (picture, pictures, folder);

    /// <summary>How many there are now.</summary>
    public int Picture { get; }

    /// <summary>How many there will be.</summary>
    public int Pictures { get; }

    /// <summary>Where they are kept.</summary>
    public string Folder { get; }
}

/// <summary>A picture was turned into latents, before the first step. Those found in the cache are not told of.</summary>
public sealed class PictureEncoded : TrainingEvent
{
    [JsonConstructor]
    internal PictureEncoded(int picture, int pictures) => (Picture, Pictures) = (picture, pictures);

    /// <summary>Which, from 1.</summary>
    public int Picture { get; }

    /// <summary>How many there are, mirrored ones counted.</summary>
    public int Pictures { get; }
}

/// <summary>One optimizer update.</summary>
public sealed class StepFinished : TrainingEvent
{
    [JsonConstructor]
    internal StepFinished() { }

    /// <summary>Updates made so far, this one included: 1 is the first.</summary>
    public required long Step { get; init; }

    /// <summary>Updates of the whole run.</summary>
    public required long Steps { get; init; }

    /// <summary>Mean over the micro-batches of the step.</summary>
    public required double Loss { get; init; }

    /// <summary>The part of <see cref="Loss"/> that <c>loss.teacher_weight</c> adds; null where that is off.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? TeacherLoss { get; init; }

    /// <summary>Exponential average over about the last 50 steps, corrected for its start.</summary>
    public required double SmoothedLoss { get; init; }

    /// <summary>Of the first parameter group, schedule included, as used by this update.</summary>
    public required double LearningRate { get; init; }

    /// <summary>Over all trained parameters together, before clipping.</summary>
    public required double GradientNorm { get; init; }

    /// <summary>Layers that were longer than <c>adapter.scale_weight_norms</c> after it and were scaled down; null where that is off.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? ScaledModules { get; init; }

    /// <summary>Wall time of the step.</summary>
    public required double Seconds { get; init; }

    /// <summary>Resident memory of the process after it.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Its pictures, in the order of the micro-batches. Empty in the logs of versions that did not keep them.</summary>
    public IReadOnlyList<PictureUse> Uses { get; init; } = [];
}

/// <summary>A preview was generated.</summary>
public sealed class PreviewWritten : TrainingEvent
{
    [JsonConstructor]
    internal PreviewWritten(long step, string path) => (Step, Path) = (step, path);

    /// <summary>Updates made so far.</summary>
    public long Step { get; }

    /// <summary>The picture.</summary>
    public string Path { get; }
}

/// <summary>How well an autoencoder brings pictures of the data back was measured.</summary>
public sealed class ReconstructionMeasured : TrainingEvent
{
    [JsonConstructor]
    internal ReconstructionMeasured(long step, int pictures, double psnr) => (Step, Pictures, Psnr) = (step, pictures, psnr);

    /// <summary>Updates made so far; 0 is the model as it came.</summary>
    public long Step { get; }

    /// <summary>How many pictures.</summary>
    public int Pictures { get; }

    /// <summary>Peak signal-to-noise ratio in decibels, the mean over the pictures: higher is nearer.</summary>
    public double Psnr { get; }
}

/// <summary>The state that a resume needs was written, and with it the adapter, or the model where the recipe asks for it.</summary>
public sealed class RunSaved : TrainingEvent
{
    [JsonConstructor]
    internal RunSaved(long step, string path) => (Step, Path) = (step, path);

    /// <summary>Updates made so far.</summary>
    public long Step { get; }

    /// <summary>The adapter's file or the model's folder; where neither was asked for, the folder of the state.</summary>
    public string Path { get; }
}

/// <summary>Something that does not stop the run but that its user should know.</summary>
public sealed class RunWarning : TrainingEvent
{
    [JsonConstructor]
    internal RunWarning(string text) => Text = text;

    /// <summary>One paragraph: what, where, what to try.</summary>
    public string Text { get; }

    /// <summary>Whether it is about a caption: there may be one for every picture.</summary>
    [JsonInclude, JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    internal bool OfCaption { get; init; }
}

/// <summary>The run made all its steps and wrote its result.</summary>
public sealed class RunFinished : TrainingEvent
{
    [JsonConstructor]
    internal RunFinished(long steps, string adapter, double seconds) => (Steps, Adapter, Seconds) = (steps, adapter, seconds);

    /// <summary>Updates made.</summary>
    public long Steps { get; }

    /// <summary>The adapter's file; for methods that train whole models the model's folder.</summary>
    public string Adapter { get; }

    /// <summary>Wall time of this run, from its first step.</summary>
    public double Seconds { get; }
}

/// <summary>The run ended before its last step, with a saved state to go on from.</summary>
public sealed class RunStopped : TrainingEvent
{
    [JsonConstructor]
    internal RunStopped(long step, string reason) => (Step, Reason) = (step, reason);

    /// <summary>Updates made.</summary>
    public long Step { get; }

    /// <summary>Why: interrupted, or what went wrong.</summary>
    public string Reason { get; }
}
