using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", program 1): every number moves by the rate, in the direction
/// of a mean of gradients; decay times the rate comes first. Owns its moment.
/// </summary>
internal sealed class Lion : IOptimizer
{
    private readonly double beta1, beta2;
    private readonly Tensor moment;

    /// <summary>Begins with a moment of zero.</summary>
    /// <param name="parameters">What it moves.</param>
    /// <param name="beta1">Share of the moment in the direction of a step.</param>
    /// <param name="beta2">Share of the moment that stays.</param>
    public Lion(TrainedParameters parameters, double beta1 = 0.9, double beta2 = 0.99)
    {
        (Parameters, this.beta1, this.beta2) = (parameters, beta1, beta2);
        moment = zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public TrainedParameters Parameters { get; }

    /// <inheritdoc/>
    public void Step(double rateMultiplier, IReadOnlySet<int>? absent = null)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        foreach (var (start, length, group, _) in Parameters.Stretches(absent, steps: null))
        {
            var rate = Parameters.Groups[group].LearningRate * rateMultiplier;
            var values = Parameters.Values.narrow(0, start, length);
            var gradients = Parameters.Gradients.narrow(0, start, length);
            var mean = moment.narrow(0, start, length);
            var direction = mean.Times(beta1).AddInPlace(gradients, 1 - beta1).sign_();   // of 0 it is 0
            values.MultiplyInPlace(1 - rate * Parameters.Groups[group].WeightDecay).AddInPlace(direction, -rate);
            mean.MultiplyInPlace(beta2).AddInPlace(gradients, 1 - beta2);
        }
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save() => new Dictionary<string, Tensor> { ["moment"] = moment.cpu().clone() };

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        OptimizerState.Require(state, ("moment", moment.numel()));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        moment.copy_(state["moment"]);
    }

    /// <inheritdoc/>
    public void Dispose() => moment.Dispose();
}
