using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Schedule-free AdamW (Defazio et al. 2024, "The Road Less Scheduled", section 4 and algorithm 1): the parameters hold the points y where
/// gradients are taken, the state the fast points z; what is saved and drawn with is their running mean x. Has its own warm-up and wants no
/// schedule. Owns its state.
/// </summary>
internal sealed class ScheduleFreeAdamW : IOptimizer
{
    private readonly double beta1, beta2, epsilon;
    private readonly long warmupSteps;
    private readonly Tensor fast, second;
    private readonly double[] counts = new double[3];   // steps, largest rate so far, sum of weights

    /// <summary>Begins with z where the parameters are at the first step.</summary>
    /// <param name="parameters">What it moves.</param>
    /// <param name="beta1">How near y lies to x: 1 at x, 0 at z; above 0.</param>
    /// <param name="beta2">Of the mean of squares.</param>
    /// <param name="epsilon">Added to the root.</param>
    /// <param name="warmupSteps">The first W rates are 1/W, 2/W, … of the full one.</param>
    public ScheduleFreeAdamW(TrainedParameters parameters, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, long warmupSteps = 0)
    {
        (Parameters, this.beta1, this.beta2, this.epsilon, this.warmupSteps) = (parameters, beta1, beta2, epsilon, warmupSteps);
        fast = zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
        second = zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public TrainedParameters Parameters { get; }

    /// <inheritdoc/>
    public void Step(double rateMultiplier, IReadOnlySet<int>? absent = null)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        if (counts[0] == 0) fast.copy_(Parameters.Values);
        var step = ++counts[0];
        var warm = rateMultiplier * (step < warmupSteps ? step / warmupSteps : 1);
        // the weight of a step is the square of the largest rate so far; a factor common to all steps, such as a group's rate, cancels
        counts[1] = Math.Max(counts[1], warm);
        counts[2] += counts[1] * counts[1];
        var share = counts[2] > 0 ? counts[1] * counts[1] / counts[2] : 0;
        var correction = 1 - Math.Pow(beta2, step);
        foreach (var (start, length, group, _) in Parameters.Stretches(absent, steps: null))
        {
            var rate = Parameters.Groups[group].LearningRate * warm;
            var values = Parameters.Values.narrow(0, start, length);
            var gradients = Parameters.Gradients.narrow(0, start, length);
            var (z, squares) = (fast.narrow(0, start, length), second.narrow(0, start, length));
            squares.MultiplyInPlace(beta2).AddProductInPlace(gradients, gradients, 1 - beta2);
            var direction = squares.Over(correction).sqrt_().AddInPlace(epsilon).reciprocal_().mul_(gradients).AddInPlace(values, Parameters.Groups[group].WeightDecay);
            values.lerp_(z, share).AddInPlace(direction, rate * (beta1 * (1 - share) - 1));
            z.AddInPlace(direction, -rate);
        }
    }

    /// <inheritdoc/>
    public Tensor? ValuesForUse()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        return counts[0] == 0 ? null : Parameters.Values.lerp(fast, 1 - 1 / beta1).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save() => new Dictionary<string, Tensor>
    {
        ["fast"] = fast.cpu().clone(),
        ["second_moment"] = second.cpu().clone(),
        ["counts"] = tensor(counts),
    };

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        OptimizerState.Require(state, ("fast", fast.numel()), ("second_moment", second.numel()), ("counts", counts.Length));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        fast.copy_(state["fast"]);
        second.copy_(state["second_moment"]);
        state["counts"].data<double>().ToArray().CopyTo(counts, 0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        fast.Dispose();
        second.Dispose();
    }
}
