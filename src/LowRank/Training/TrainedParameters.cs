using LowRank.Adapters;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>Where one trained tensor lies in the flat tensors, and the group that sets its rate and decay.</summary>
/// <param name="Name">Its name, as the adapter calls it.</param>
/// <param name="Start">First element.</param>
/// <param name="Length">Elements.</param>
/// <param name="Group">Index into <see cref="TrainedParameters.Groups"/>.</param>
internal sealed record ParameterSegment(string Name, long Start, long Length, int Group = 0)
{
    /// <summary>Its sizes, for rules that look at rows and columns; their product is <see cref="Length"/>. Without it, a vector.</summary>
    public IReadOnlyList<long> Shape { get; init; } = [Length];
}

/// <summary>Rate and decay of some of the trained parameters.</summary>
/// <param name="LearningRate">Before the schedule's factor.</param>
/// <param name="WeightDecay">Times the rate, on the values; for SGD and Adam added to the gradient.</param>
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
    private readonly HashSet<int> absent = [];

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
            if (segment.Shape.Aggregate(1L, (product, size) => product * size) != segment.Length || segment.Start != end || segment.Group < 0 || segment.Group >= groups.Count) throw new ArgumentException($"segment {segment} does not fit", nameof(segments));
            end += segment.Length;
        }
        if (values.numel() != end || gradients.numel() != end) throw new ArgumentException($"{values.numel()} values and {gradients.numel()} gradients for segments of {end}", nameof(values));
        (Values, Gradients, Segments, Groups) = (values, gradients, segments, groups);
    }

    /// <summary>All parameters of an adapter.</summary>
    /// <param name="adapter">Stays the owner.</param>
    /// <param name="rates">Sorts them into groups.</param>
    /// <param name="unreached">Names of those that have no gradient (<see cref="UnreachedLayers"/>); null for none.</param>
    /// <exception cref="Foundation.OptionsException">A pattern of the rates matches nothing.</exception>
    public static TrainedParameters Of(AdapterSet adapter, ParameterRates rates, IReadOnlySet<string>? unreached = null)
    {
        var all = rates.Sort(adapter.NamedParameters(), adapter.FlatParameters, adapter.FlatGradients);
        if (unreached is not null) all.LeaveOut(unreached);
        return all;
    }

    /// <summary>Updates leave these parameters alone from now on.</summary>
    /// <param name="names">Of segments; others are passed over.</param>
    public void LeaveOut(IReadOnlySet<string> names)
    {
        for (var index = 0; index < Segments.Count; index++)
        {
            if (names.Contains(Segments[index].Name)) absent.Add(index);
        }
    }

    /// <summary>All vectors of learned tokens, in one group.</summary>
    public static TrainedParameters Of(EmbeddingSet tokens, ParameterGroup group) => new(tokens.FlatParameters, tokens.FlatGradients, SegmentsOf(tokens, 0, 0), [group]);

    /// <summary>All parameters of an adapter, and the vectors of learned tokens, which lie behind them in the adapter's flat tensors, in a group of their own.</summary>
    /// <exception cref="Foundation.OptionsException">A pattern of the rates matches nothing.</exception>
    public static TrainedParameters Of(AdapterSet adapter, ParameterRates rates, EmbeddingSet tokens, ParameterGroup ofTokens)
    {
        using var scope = NewDisposeScope();
        var length = adapter.FlatParameters.numel() - tokens.FlatParameters.numel();
        var own = rates.Sort(adapter.NamedParameters(), adapter.FlatParameters.narrow(0, 0, length), adapter.FlatGradients.narrow(0, 0, length));
        return new(adapter.FlatParameters, adapter.FlatGradients, [.. own.Segments, .. SegmentsOf(tokens, length, own.Groups.Count)], [.. own.Groups, ofTokens]);
    }

    private static List<ParameterSegment> SegmentsOf(EmbeddingSet tokens, long start, int group)
    {
        var segments = new List<ParameterSegment>();
        foreach (var (name, parameter) in tokens.NamedParameters())
        {
            segments.Add(new ParameterSegment(name, start, parameter.numel(), group) { Shape = parameter.shape });
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

    /// <summary>Indices of the segments that an update leaves alone: those of groups that stand still after so many updates, those that have no gradient ever, and more; null for none.</summary>
    /// <param name="step">Updates made.</param>
    /// <param name="more">Others that this update leaves alone; null for none.</param>
    public IReadOnlySet<int>? Still(long step, IReadOnlySet<int>? more) => absent.Count > 0 || Groups.Any(group => group.StandsStill(step))
        ? Enumerable.Range(0, Segments.Count).Where(index => absent.Contains(index) || more?.Contains(index) == true || Groups[Segments[index].Group].StandsStill(step)).ToHashSet()
        : more;

    /// <summary>
    /// The norm of the whole gradient. Rows are summed in float32 and their norms in float64: one float32 sum over millions of squares
    /// loses the fourth digit.
    /// </summary>
    public double GradientNorm()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        if (Gradients.dtype == ScalarType.Float32) return Norm(Gradients);
        var (sum, length) = (0.0, Gradients.numel());
        for (var start = 0L; start < length; start += Piece)
        {
            using var piece = Gradients.narrow(0, start, Math.Min(Piece, length - start)).to(ScalarType.Float32);
            sum += Math.Pow(Norm(piece), 2);
        }
        return Math.Sqrt(sum);
    }

    private const long Piece = 1 << 24;   // numbers of 16 bits that become float32 at a time

    private static double Norm(Tensor flat)
    {
        using var scope = NewDisposeScope();
        var (rows, rest) = Rows(flat);
        return cat([rows.norm(1), rest.norm().view(1)]).to(ScalarType.Float64).norm().item<double>();
    }

    /// <summary>The sum of a long flat tensor: rows in float32, their sums in float64, for the reason given at <see cref="GradientNorm"/>.</summary>
    internal static double Sum(Tensor flat)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var (rows, rest) = Rows(flat);
        return cat([rows.sum(1), rest.sum().view(1)]).to(ScalarType.Float64).sum().item<double>();
    }

    /// <summary>The part of one of the flat tensors, or of one laid out like them, that belongs to a segment, in its shape: a view.</summary>
    internal Tensor View(Tensor flat, int index)
    {
        var segment = Segments[index];
        using var part = flat.narrow(0, segment.Start, segment.Length);
        return part.view([.. segment.Shape]);
    }

    /// <summary>Scales the gradient by limit / (norm + 1e-6) where that is below 1 (torch.nn.utils.clip_grad_norm_).</summary>
    public void ClipGradients(double norm, double limit)
    {
        var factor = limit / (norm + 1e-6);
        if (factor < 1) ScaleGradients(factor);
    }

    /// <summary>Multiplies every gradient.</summary>
    public void ScaleGradients(double factor)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        Gradients.MultiplyInPlace((float)factor);
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

    private static (Tensor Whole, Tensor Ragged) Rows(Tensor flat)
    {
        const long Row = 4096;
        var whole = flat.numel() / Row * Row;
        return (flat.narrow(0, 0, whole).view(-1, Row), flat.narrow(0, whole, flat.numel() - whole));
    }
}
