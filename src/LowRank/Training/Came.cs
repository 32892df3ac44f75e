using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// CAME (Luo et al. 2023, "CAME: Confidence-guided Adaptive Memory Efficient Optimization", algorithm 2): Adafactor's factored squares, a mean
/// of updates, and smaller steps where updates differ from their mean. No bias correction: the first step is about eleven times the rate.
/// Looks at each parameter by itself. Owns its state.
/// </summary>
internal sealed class Came : IOptimizer
{
    private const double Beta3 = 0.9999, SquareFloor = 1e-30, ResidualFloor = 1e-16;

    private readonly double beta1, beta2, clipThreshold;
    private readonly FactoredSquares squares, residuals;
    private readonly Tensor moment;

    /// <summary>Begins with an empty state.</summary>
    /// <param name="parameters">What it moves.</param>
    /// <param name="beta1">Of the mean of updates.</param>
    /// <param name="beta2">Of the mean of squared gradients.</param>
    /// <param name="clipThreshold">Largest root mean square of an update before the rate.</param>
    public Came(TrainedParameters parameters, double beta1 = 0.9, double beta2 = 0.999, double clipThreshold = 1)
    {
        (Parameters, this.beta1, this.beta2, this.clipThreshold) = (parameters, beta1, beta2, clipThreshold);
        squares = new FactoredSquares(parameters);
        residuals = new FactoredSquares(parameters);
        moment = zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public TrainedParameters Parameters { get; }

    /// <inheritdoc/>
    public void Step(double rateMultiplier, IReadOnlySet<int>? absent = null)
    {
        using var quiet = no_grad();
        for (var index = 0; index < Parameters.Segments.Count; index++)
        {
            if (absent?.Contains(index) != true) Move(index, rateMultiplier);
        }
    }

    private void Move(int index, double rateMultiplier)
    {
        using var scope = NewDisposeScope();
        var segment = Parameters.Segments[index];
        var group = Parameters.Groups[segment.Group];
        var rate = group.LearningRate * rateMultiplier;
        var (values, gradients) = (Parameters.View(Parameters.Values, index), Parameters.View(Parameters.Gradients, index));
        var update = squares.Update(index, gradients.Squared().AddInPlace(SquareFloor), beta2).mul_(gradients);
        update.div_(Adafactor.RootMeanSquare(update).DivideInPlace(clipThreshold).AtLeastInPlace(1));
        var mean = Parameters.View(moment, index).MultiplyInPlace(beta1).AddInPlace(update, 1 - beta1);
        // a vector has no rows and columns to be unsure about
        var step = segment.Shape.Count < 2 ? mean : residuals.Update(index, update.sub_(mean).PowerInPlace(2).AddInPlace(ResidualFloor), Beta3).mul_(mean);
        values.MultiplyInPlace(1 - group.WeightDecay * rate).AddInPlace(step, -rate);
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save() => new Dictionary<string, Tensor>
    {
        ["squares"] = squares.State.cpu().clone(),
        ["residuals"] = residuals.State.cpu().clone(),
        ["moment"] = moment.cpu().clone(),
    };

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        OptimizerState.Require(state, ("squares", squares.State.numel()), ("residuals", residuals.State.numel()), ("moment", moment.numel()));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        squares.State.copy_(state["squares"]);
        residuals.State.copy_(state["residuals"]);
        moment.copy_(state["moment"]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        squares.Dispose();
        residuals.Dispose();
        moment.Dispose();
    }
}
