using System.Text.Json.Serialization;
using LowRank.Data;

namespace LowRank.Training;

/// <summary>What a run is going to do, in numbers, known before its first step.</summary>
public sealed class TrainingPlan
{
    [JsonConstructor]
    internal TrainingPlan() { }

    /// <summary>The base model, as the recipe names it.</summary>
    public required string Model { get; init; }

    /// <summary>What it turned out to be: "Stable Diffusion 1".</summary>
    public required string Family { get; init; }

    /// <summary>What was assumed where the model's files do not say it, one a line.</summary>
    public IReadOnlyList<string> ModelWarnings { get; init; } = [];

    /// <summary>Numbers in the denoiser; in the autoencoder where that is trained.</summary>
    public required long ModelParameters { get; init; }

    /// <summary>What was found in the data folders.</summary>
    public required DataReport Data { get; init; }

    /// <summary>Modules that carry an adapter layer; layers that learn, for methods that train whole models.</summary>
    public required int Modules { get; init; }

    /// <summary>Numbers that are trained.</summary>
    public required long Parameters { get; init; }

    /// <summary>Size of the adapter file, without its header; of the whole model, for methods that train one.</summary>
    public required long AdapterBytes { get; init; }

    /// <summary>Updates.</summary>
    public required int Steps { get; init; }

    /// <summary>How often every picture is seen, repeats counted.</summary>
    public required double Epochs { get; init; }

    /// <summary>Pictures an update.</summary>
    public required int PicturesPerStep { get; init; }

    /// <summary>Most memory the run is expected to take: weights, activations of one batch, gradients, optimizer.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Seconds an update, from one forward pass on this machine.</summary>
    public required double SecondsPerStep { get; init; }

    /// <summary>Seconds of one forward pass of a batch on this machine, from which the estimates come; 0 in plans that were read back.</summary>
    [JsonIgnore]
    internal double SecondsPerForward { get; init; }

    /// <summary>Prior pictures that the base has to draw first.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public int PriorsToDraw { get; init; }

    /// <summary>About how long that takes, from the same forward pass.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public double SecondsToDraw { get; init; }

    /// <summary>The run folder.</summary>
    public required string Output { get; init; }
}
