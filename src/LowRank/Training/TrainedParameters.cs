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
internal sealed record ParameterGroup(double LearningRate, double WeightDecay = 0);

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
    public static TrainedParameters Of(AdapterSet adapter, ParameterGroup group)
    {
        var (segments, start) = (new List<ParameterSegment>(), 0L);
        foreach (var (name, parameter) in adapter.NamedParameters())
        {
            segments.Add(new ParameterSegment(name, start, parameter.numel()));
            start += parameter.numel();
        }
        return new TrainedParameters(adapter.FlatParameters, adapter.FlatGradients, segments, [group]);
    }

    /// <summary>All vectors of learned tokens, in one group.</summary>
    public static TrainedParameters Of(EmbeddingSet tokens, ParameterGroup group) =>
        new(tokens.FlatParameters, tokens.FlatGradients, SegmentsOf(tokens.NamedParameters().Select(item => (item.Name, item.Parameter, 0))), [group]);

    /// <summary>All parameters of an adapter in one group, and the vectors of learned tokens, which lie behind them in the adapter's flat tensors, in another.</summary>
    public static TrainedParameters Of(AdapterSet adapter, ParameterGroup ofAdapter, EmbeddingSet tokens, ParameterGroup ofTokens) =>
        new(adapter.FlatParameters, adapter.FlatGradients,
            SegmentsOf(adapter.NamedParameters().Select(item => (item.Name, item.Parameter, 0)).Concat(tokens.NamedParameters().Select(item => (item.Name, item.Parameter, 1)))),
            [ofAdapter, ofTokens]);

    private static List<ParameterSegment> SegmentsOf(IEnumerable<(string Name, Tensor Parameter, int Group)> parameters)
    {
        var (segments, start) = (new List<ParameterSegment>(), 0L);
        foreach (var (name, parameter, group) in parameters)
        {
            segments.Add(new ParameterSegment(name, start, parameter.numel(), group));
            start += parameter.numel();
        }
        return segments;
    }

    /// <summary>(N) float32.</summary>
    public Tensor Values { get; }

    /// <summary>(N) float32.</summary>
    public Tensor Gradients { get; }

    /// <summary>Every parameter in order.</summary>
    public IReadOnlyList<ParameterSegment> Segments { get; }

    /// <summary>Rates and decays.</summary>
    public IReadOnlyList<ParameterGroup> Groups { get; }

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
