using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Gradient descent with momentum, optionally Nesterov's, and decay added to the gradient (torch.optim.SGD without dampening).
/// The buffer begins at 0, so the first step's buffer is the gradient itself. Owns its buffer.
/// </summary>
internal sealed class Sgd : IOptimizer
{
    private readonly double momentum;
    private readonly bool nesterov;
    private readonly Tensor? buffer;

    /// <summary>Begins with an empty buffer; without momentum there is none.</summary>
    public Sgd(TrainedParameters parameters, double momentum = 0, bool nesterov = false)
    {
        (Parameters, this.momentum, this.nesterov) = (parameters, momentum, nesterov);
        if (momentum != 0) buffer = zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
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
            var rate = (float)(Parameters.Groups[group].LearningRate * rateMultiplier);
            var decay = (float)Parameters.Groups[group].WeightDecay;
            var values = Parameters.Values.narrow(0, start, length);
            var gradients = Parameters.Gradients.narrow(0, start, length);
            if (decay != 0) gradients = gradients.Plus(values, decay);
            if (buffer is not null)
            {
                var moving = buffer.narrow(0, start, length).MultiplyInPlace((float)momentum).AddInPlace(gradients);
                gradients = nesterov ? gradients.Plus(moving, (float)momentum) : moving;
            }
            values.AddInPlace(gradients, -rate);
        }
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save()
    {
        var state = new Dictionary<string, Tensor>();
        if (buffer is not null) state["momentum"] = buffer.cpu().clone();
        return state;
    }

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        if (buffer is null)
        {
            OptimizerState.Require(state);
            return;
        }
        OptimizerState.Require(state, ("momentum", buffer.numel()));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        buffer.copy_(state["momentum"]);
    }

    /// <inheritdoc/>
    public void Dispose() => buffer?.Dispose();
}
