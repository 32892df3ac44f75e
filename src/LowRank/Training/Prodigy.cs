using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>What Prodigy can be told.</summary>
/// <param name="Beta1">Of the mean of gradients.</param>
/// <param name="Beta2">Of the mean of their squares; its root is that of the distance estimate.</param>
/// <param name="Epsilon">Added to the root, times the estimate.</param>
/// <param name="InitialDistance">d0, the first estimate of how far the parameters have to go.</param>
/// <param name="Coefficient">Factor of the estimate: the knob that a learning rate is elsewhere.</param>
/// <param name="GrowthRate">Largest growth of the estimate in one step.</param>
/// <param name="BiasCorrection">Adam's, in the rate.</param>
/// <param name="SafeguardWarmup">Leaves the rate out of the estimate's denominator, so that a warm-up does not inflate it.</param>
internal sealed record ProdigyRule(double Beta1 = 0.9, double Beta2 = 0.999, double Epsilon = 1e-8, double InitialDistance = 1e-6, double Coefficient = 1,
    double GrowthRate = double.PositiveInfinity, bool BiasCorrection = false, bool SafeguardWarmup = false);

/// <summary>
/// Prodigy (Mishchenko and Defazio 2023, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", algorithm 4, in the order of prodigyopt):
/// Adam whose rate is multiplied by an estimate d of the distance to the solution, one for all parameters. The learning rate is 1.
/// Does nothing while the rate is 0. Owns its state.
/// </summary>
internal sealed class Prodigy : IOptimizer
{
    private readonly ProdigyRule rule;
    private readonly Tensor first, second, start, distances;
    private readonly double[] counts;   // d, its largest estimate, the estimate's numerator, steps

    /// <summary>Begins with d at its first estimate.</summary>
    /// <exception cref="ArgumentException">Groups of different rates: there is one d for all.</exception>
    public Prodigy(TrainedParameters parameters, ProdigyRule rule)
    {
        if (parameters.Groups.Any(group => group.LearningRate != parameters.Groups[0].LearningRate)) throw new ArgumentException("Prodigy has one rate for all groups", nameof(parameters));
        (Parameters, this.rule) = (parameters, rule);
        counts = [rule.InitialDistance, rule.InitialDistance, 0, 0];
        Tensor Zeros() => zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
        (first, second, start, distances) = (Zeros(), Zeros(), Zeros(), Zeros());
    }

    /// <inheritdoc/>
    public TrainedParameters Parameters { get; }

    /// <summary>d: how far the parameters have to go, as estimated so far. The effective rate of Adam is this times the learning rate.</summary>
    public double Distance => counts[0];

    /// <inheritdoc/>
    public void Step(double rateMultiplier, IReadOnlySet<int>? absent = null)
    {
        var rate = Parameters.Groups[0].LearningRate * rateMultiplier;
        if (rate == 0) return;
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        if (counts[3] == 0) start.copy_(Parameters.Values);   // nothing has moved yet, however many steps had no gradient
        var old = Distance;
        var effective = old * rate * (rule.BiasCorrection ? Math.Sqrt(1 - Math.Pow(rule.Beta2, counts[3] + 1)) / (1 - Math.Pow(rule.Beta1, counts[3] + 1)) : 1);
        var stretches = Parameters.Stretches(absent, steps: null).ToList();
        if (!Estimate(stretches, effective)) return;
        foreach (var (at, length, group, _) in stretches)
        {
            var values = Parameters.Values.narrow(0, at, length);
            var root = second.narrow(0, at, length).sqrt().AddInPlace(Distance * rule.Epsilon);
            values.MultiplyInPlace(1 - Parameters.Groups[group].WeightDecay * effective).AddQuotientInPlace(first.narrow(0, at, length), root, -effective);
        }
        counts[3]++;
    }

    /// <summary>Takes the gradients into the moments and estimates d anew; false when there has been no gradient but 0.</summary>
    private bool Estimate(List<(long Start, long Length, int Group, long Steps)> stretches, double effective)
    {
        var (old, weight) = (Distance, Distance / rule.InitialDistance);
        var beta3 = Math.Sqrt(rule.Beta2);
        var (along, length1) = (0.0, 0.0);
        foreach (var (at, length, _, _) in stretches)
        {
            var gradients = Parameters.Gradients.narrow(0, at, length);
            along += TrainedParameters.Sum(gradients * (start.narrow(0, at, length) - Parameters.Values.narrow(0, at, length)));
            first.narrow(0, at, length).MultiplyInPlace(rule.Beta1).AddInPlace(gradients, old * (1 - rule.Beta1));
            second.narrow(0, at, length).MultiplyInPlace(rule.Beta2).AddProductInPlace(gradients, gradients, old * old * (1 - rule.Beta2));
            var far = distances.narrow(0, at, length).MultiplyInPlace(beta3).AddInPlace(gradients, weight * (rule.SafeguardWarmup ? old : effective));
            length1 += TrainedParameters.Sum(far.abs());
        }
        if (length1 == 0) return false;
        counts[2] = beta3 * counts[2] + weight * effective * along;
        var estimate = rule.Coefficient * counts[2] / length1;
        counts[1] = Math.Max(counts[1], estimate);
        // as long as the first estimate stands, any larger one is taken at once
        var grown = old == rule.InitialDistance ? Math.Max(old, estimate) : old;
        counts[0] = Math.Min(counts[1], grown * rule.GrowthRate);
        return true;
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save() => new Dictionary<string, Tensor>
    {
        ["first_moment"] = first.cpu().clone(),
        ["second_moment"] = second.cpu().clone(),
        ["start"] = start.cpu().clone(),
        ["distances"] = distances.cpu().clone(),
        ["counts"] = tensor(counts),
    };

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        var length = first.numel();
        OptimizerState.Require(state, ("first_moment", length), ("second_moment", length), ("start", length), ("distances", length), ("counts", counts.Length));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        first.copy_(state["first_moment"]);
        second.copy_(state["second_moment"]);
        start.copy_(state["start"]);
        distances.copy_(state["distances"]);
        state["counts"].data<double>().ToArray().CopyTo(counts, 0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        first.Dispose();
        second.Dispose();
        start.Dispose();
        distances.Dispose();
    }
}
