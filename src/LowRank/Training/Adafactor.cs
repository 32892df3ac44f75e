using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>What Adafactor can be told.</summary>
/// <param name="RelativeStep">Takes min(1e-2, 1/√k) for step k in place of the learning rate and its schedule.</param>
/// <param name="WarmupInit">With it: 1e-6·k in place of 1e-2.</param>
/// <param name="ScaleParameter">Multiplies the rate by the root mean square of the parameter, at least 1e-3.</param>
/// <param name="ClipThreshold">Largest root mean square of an update before the rate.</param>
/// <param name="Beta1">Of a mean of updates; null keeps none, which is what saves memory.</param>
internal sealed record AdafactorRule(
    bool RelativeStep = false, bool WarmupInit = false, bool ScaleParameter = false, double ClipThreshold = 1, double? Beta1 = null);

/// <summary>
/// Adafactor (Shazeer and Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", algorithms 4 to 6), as transformers'
/// <c>optimization.py</c> orders it: factored means of squares with decay 1 − k^−0.8, a clip of the update, decay times the effective rate.
/// Looks at each parameter by itself, so that its cost grows with their number. Owns its state.
/// </summary>
internal sealed class Adafactor : IOptimizer
{
    private const double SquareFloor = 1e-30, ScaleFloor = 1e-3, DecayExponent = -0.8;

    private readonly AdafactorRule rule;
    private readonly FactoredSquares squares;
    private readonly Tensor? moment;
    private readonly long[] steps;

    /// <summary>Begins with an empty state.</summary>
    public Adafactor(TrainedParameters parameters, AdafactorRule rule)
    {
        (Parameters, this.rule) = (parameters, rule);
        squares = new FactoredSquares(parameters);
        if (rule.Beta1 is not null) moment = zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
        steps = new long[parameters.Segments.Count];
    }

    /// <inheritdoc/>
    public TrainedParameters Parameters { get; }

    /// <inheritdoc/>
    public IReadOnlyList<double> Rates(double rateMultiplier) => rule.RelativeStep
        ? [.. Parameters.Groups.Select(_ => RelativeRate(steps.Max() + 1))]
        : [.. Parameters.Groups.Select(group => group.LearningRate * rateMultiplier)];

    /// <inheritdoc/>
    public void Step(double rateMultiplier, IReadOnlySet<int>? absent = null)
    {
        using var quiet = no_grad();
        for (var index = 0; index < steps.Length; index++)
        {
            if (absent?.Contains(index) != true) Move(index, ++steps[index], rateMultiplier);
        }
    }

    private void Move(int index, long step, double rateMultiplier)
    {
        using var scope = NewDisposeScope();
        var group = Parameters.Groups[Parameters.Segments[index].Group];
        var (values, gradients) = (Parameters.View(Parameters.Values, index), Parameters.View(Parameters.Gradients, index));
        var rate = tensor(rule.RelativeStep ? RelativeRate(step) : group.LearningRate * rateMultiplier, ScalarType.Float32, values.device);
        if (rule.ScaleParameter) rate.mul_(RootMeanSquare(values).AtLeastInPlace(ScaleFloor));
        var update = squares.Update(index, gradients.Squared().AddInPlace(SquareFloor), 1 - Math.Pow(step, DecayExponent)).mul_(gradients);
        update.div_(RootMeanSquare(update).DivideInPlace(rule.ClipThreshold).AtLeastInPlace(1)).mul_(rate);
        if (moment is not null) update = Parameters.View(moment, index).MultiplyInPlace(rule.Beta1!.Value).AddInPlace(update, 1 - rule.Beta1.Value);
        if (group.WeightDecay != 0) values.sub_(values * rate.Times(group.WeightDecay));
        values.sub_(update);
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save()
    {
        var state = new Dictionary<string, Tensor> { ["squares"] = squares.State.cpu().clone(), ["steps"] = tensor(steps) };
        if (moment is not null) state["moment"] = moment.cpu().clone();
        return state;
    }

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        if (moment is null) OptimizerState.Require(state, ("squares", squares.State.numel()), ("steps", steps.Length));
        else OptimizerState.Require(state, ("squares", squares.State.numel()), ("steps", steps.Length), ("moment", moment.numel()));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        squares.State.copy_(state["squares"]);
        moment?.copy_(state["moment"]);
        state["steps"].data<long>().ToArray().CopyTo(steps, 0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        squares.Dispose();
        moment?.Dispose();
    }

    /// <summary>√(mean of squares): a scalar, float32.</summary>
    internal static Tensor RootMeanSquare(Tensor values) => values.norm().DivideInPlace(Math.Sqrt(values.numel()));

    private double RelativeRate(long step) => Math.Min(rule.WarmupInit ? 1e-6 * step : 1e-2, 1 / Math.Sqrt(step));
}
