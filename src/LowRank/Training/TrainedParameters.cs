using LowRank.Adapters;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>Where one trained tensor lies in the flat tensors, and the group that sets its rate and decay.</summary>
/// <param name="Name">Its name, as the adapter calls it.</param>
/// <param name="Start">First element.</param>
/// <param name="Length">Elements.</param>
/// <param name="Group">Index into <see cref="TrainedParameters.Groups"/>.</param>
internal sealed record ParameterSegment(string Name, long Start, long Length, int Group = 0);

/// <summary>Rate and decay of some of the trained parameters.</summary>
/// <param name="LearningRate">Before the schedule's factor.</param>
/// <param name="WeightDecay">Decoupled for AdamW (times the rate), added to the gradient for SGD.</param>
internal sealed record ParameterGroup(double LearningRate, double WeightDecay = 0)
{
    /// <summary>Updates after which the group stands still: no step, no decay, its state as it was. Null for never.</summary>
    public long? StopStep { get; init; }

    /// <summary>Whether it stands still after so many updates.</summary>
    public bool StandsStill(long step) => step >= StopStep;
}

/// <summary>
/// All that is trained, as one flat tensor of values and one of gradients. Owns neither: the adapter does, and its layers are views into them.
/// </summary>
internal sealed class TrainedParameters
{
    /// <summary>Describes parameters that lie one after the other.</summary>
    /// <param name="values">(N) float32.</param>
    /// <param name="gradients">(N) float32, where backward accumulates.</param>
    /// <param name="segments">Every parameter, in order, without gaps.</param>
    /// <param name="groups">Rates and decays.</param>
    public TrainedParameters(Tensor values, Tensor gradients, IReadOnlyList<ParameterSegment> segments, IReadOnlyList<ParameterGroup> groups)
    {
        var end = 0L;
        foreach (var segment in segments)
        {
            if (segment.Start != end || segment.Group < 0 || segment.Group >= groups.Count) throw new ArgumentException($"segment {segment} does not fit", nameof(segments));
            end += segment.Length;
        }
        if (values.numel() != end || gradients.numel() != end) throw new ArgumentException($"{values.numel()} values and {gradients.numel()} gradients for segments of {end}", nameof(values));
        (Values, Gradients, Segments, Groups) = (values, gradients, segments, groups);
    }

    /// <summary>All parameters of an adapter, in one group.</summary>
    public static TrainedParameters Of(AdapterSet adapter, ParameterGroup group) => Of(adapter, _ => group);

    /// <summary>All parameters of an adapter; layers of equal groups share one. Groups stand in the order of the layers.</summary>
    /// <param name="adapter">Stays the owner.</param>
    /// <param name="groupOf">The group of a layer.</param>
    /// <param name="unreached">Layers that have no gradient (<see cref="UnreachedLayers"/>); null for none.</param>
    public static TrainedParameters Of(AdapterSet adapter, Func<LoraLayer, ParameterGroup> groupOf, IReadOnlySet<LoraLayer>? unreached = null)
    {
        var absent = new HashSet<int>();
        var (segments, groups, start) = (new List<ParameterSegment>(), new List<ParameterGroup>(), 0L);
        foreach (var (name, parameter, layer) in adapter.NamedParameters().Zip(adapter.Layers.SelectMany(layer => new[] { layer, layer }), (item, layer) => (item.Name, item.Parameter, layer)))
        {
            var group = groupOf(layer);
            if (!groups.Contains(group)) groups.Add(group);
            if (unreached?.Contains(layer) == true) absent.Add(segments.Count);
            segments.Add(new ParameterSegment(name, start, parameter.numel(), groups.IndexOf(group)));
            start += parameter.numel();
        }
        return new TrainedParameters(adapter.FlatParameters, adapter.FlatGradients, segments, groups) { absent = absent };
    }

    private HashSet<int> absent = [];

    /// <summary>(N) float32.</summary>
    public Tensor Values { get; }

    /// <summary>(N) float32.</summary>
    public Tensor Gradients { get; }

    /// <summary>Every parameter in order.</summary>
    public IReadOnlyList<ParameterSegment> Segments { get; }

    /// <summary>Rates and decays.</summary>
    public IReadOnlyList<ParameterGroup> Groups { get; }

    /// <summary>Indices of the segments that stand still after so many updates, or have no gradient ever; null for none.</summary>
    public IReadOnlySet<int>? Still(long step) => absent.Count > 0 || Groups.Any(group => group.StandsStill(step))
        ? Enumerable.Range(0, Segments.Count).Where(index => absent.Contains(index) || Groups[Segments[index].Group].StandsStill(step)).ToHashSet()
        : null;

    /// <summary>
    /// The norm of the whole gradient. Rows are summed in float32 and their norms in float64: one float32 sum over millions of squares
    /// loses the fourth digit.
    /// </summary>
    public double GradientNorm()
    {
        const long Row = 4096;
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var whole = Gradients.numel() / Row * Row;
        var norms = cat([Gradients.narrow(0, 0, whole).view(-1, Row).norm(1), Gradients.narrow(0, whole, Gradients.numel() - whole).norm().view(1)]);
        return norms.to(ScalarType.Float64).norm().item<double>();
    }

    /// <summary>Scales the gradient by limit / (norm + 1e-6) where that is below 1 (torch.nn.utils.clip_grad_norm_).</summary>
    public void ClipGradients(double norm, double limit)
    {
        var factor = limit / (norm + 1e-6);
        if (factor >= 1) return;
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        Gradients.mul_((float)factor);
    }

    /// <summary>Sets every gradient to 0.</summary>
    public void ClearGradients()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        Gradients.zero_();
    }

    /// <summary>
    /// The present parameters as few stretches as possible: neighbours of one group and one step count become one.
    /// </summary>
    internal IEnumerable<(long Start, long Length, int Group, long Steps)> Stretches(IReadOnlySet<int>? absent, IReadOnlyList<long>? steps)
    {
        (long Start, long Length, int Group, long Steps)? open = null;
        for (var index = 0; index < Segments.Count; index++)
        {
            if (absent?.Contains(index) == true) continue;
            var (segment, count) = (Segments[index], steps?[index] ?? 0);
            if (open is { } last && last.Start + last.Length == segment.Start && last.Group == segment.Group && last.Steps == count)
            {
                open = last with { Length = last.Length + segment.Length };
                continue;
            }
            if (open is { } done) yield return done;
            open = (segment.Start, segment.Length, segment.Group, count);
        }
        if (open is { } rest) yield return rest;
    }
}
