using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Moves the trained parameters along their gradients. Works on one flat tensor of all parameters, so that a step costs a few kernels
/// however many adapter layers there are. Keeps its state on the device of the parameters and owns it; the parameters stay their owner's.
/// </summary>
internal interface IOptimizer : IDisposable
{
    /// <summary>What it moves.</summary>
    TrainedParameters Parameters { get; }

    /// <summary>One update from <see cref="TrainedParameters.Gradients"/>, each group with its own rate times <paramref name="rateMultiplier"/>.</summary>
    /// <param name="rateMultiplier">The schedule's factor for this step.</param>
    /// <param name="absent">
    /// Indices of parameters (into <see cref="TrainedParameters.Segments"/>) that got no gradient at all in this step: they are left alone,
    /// with their decay, state and own step count. A gradient of zeros is not the same: it moves all of these.
    /// </param>
    void Step(double rateMultiplier, IReadOnlySet<int>? absent = null);

    /// <summary>
    /// The values to save and to draw with, where they are not those that are trained: (N) float32, the caller's. Null: the trained ones.
    /// </summary>
    Tensor? ValuesForUse() => null;

    /// <summary>The rate of each group in the next step, for reports.</summary>
    IReadOnlyList<double> Rates(double rateMultiplier) => [.. Parameters.Groups.Select(group => group.LearningRate * rateMultiplier)];

    /// <summary>Fresh copies, on the CPU, of everything a later <see cref="Restore"/> needs; the caller owns them.</summary>
    IReadOnlyDictionary<string, Tensor> Save();

    /// <summary>Takes over a saved state.</summary>
    /// <exception cref="Foundation.CheckpointException">The state is of another optimizer or of other parameters.</exception>
    void Restore(IReadOnlyDictionary<string, Tensor> state);
}
