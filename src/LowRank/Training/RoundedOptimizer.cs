using System.Globalization;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Trains bfloat16 weights without a float32 copy of them: piece by piece they become float32, an optimizer of that piece's own moves them, and they are
/// brought back by stochastic rounding. For optimizers that treat every tensor by itself. Owns the optimizers and one piece of float32.
/// </summary>
internal sealed class RoundedOptimizer : IOptimizer
{
    private const long PieceLength = 1 << 24;   // numbers that are float32 at a time, unless one tensor is larger: 128 MiB with their gradients

    private readonly List<(int FirstSegment, long Start, long Length, IOptimizer Optimizer)> pieces = [];
    private readonly Tensor values, gradients;
    private readonly Func<long, Tensor> bits;

    /// <summary>Cuts the parameters into pieces.</summary>
    /// <param name="parameters">(N) bfloat16 values and gradients.</param>
    /// <param name="make">The optimizer of one piece, over float32.</param>
    /// <param name="bits">So many random bits for <see cref="StochasticRounding.Round"/>, the caller's to dispose.</param>
    /// <param name="pieceLength">Numbers of a piece.</param>
    public RoundedOptimizer(TrainedParameters parameters, Func<TrainedParameters, IOptimizer> make, Func<long, Tensor> bits, long pieceLength = PieceLength)
    {
        (Parameters, this.bits) = (parameters, bits);
        var cuts = Cut(parameters.Segments, pieceLength);
        using var scope = NewDisposeScope();
        var longest = cuts.Max(cut => cut.Segments.Sum(segment => segment.Length));
        values = zeros(longest, ScalarType.Float32, parameters.Values.device).DetachFromDisposeScope();
        gradients = zeros_like(values).DetachFromDisposeScope();
        foreach (var (first, segments) in cuts)
        {
            var (start, length) = (segments[0].Start, segments.Sum(segment => segment.Length));
            var own = new TrainedParameters(values.narrow(0, 0, length).DetachFromDisposeScope(), gradients.narrow(0, 0, length).DetachFromDisposeScope(),
                [.. segments.Select(segment => segment with { Start = segment.Start - start })], parameters.Groups);
            pieces.Add((first, start, length, make(own)));
        }
    }

    /// <inheritdoc/>
    public TrainedParameters Parameters { get; }

    /// <inheritdoc/>
    public void Step(double rateMultiplier, IReadOnlySet<int>? absent = null)
    {
        using var quiet = no_grad();
        foreach (var (first, start, length, optimizer) in pieces)
        {
            using var scope = NewDisposeScope();
            var own = optimizer.Parameters;
            var (stored, count) = (Parameters.Values.narrow(0, start, length), own.Segments.Count);
            own.Values.copy_(stored);
            own.Gradients.copy_(Parameters.Gradients.narrow(0, start, length));
            optimizer.Step(rateMultiplier, absent?.Where(index => index >= first && index < first + count).Select(index => index - first).ToHashSet());
            stored.copy_(StochasticRounding.Round(own.Values, bits(length)));
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<double> Rates(double rateMultiplier) => pieces[0].Optimizer.Rates(rateMultiplier);

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save() =>
        pieces.SelectMany((piece, index) => piece.Optimizer.Save().Select(item => KeyValuePair.Create(Prefix(index) + item.Key, item.Value))).ToDictionary();

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        for (var index = 0; index < pieces.Count; index++)
        {
            var prefix = Prefix(index);
            pieces[index].Optimizer.Restore(state.Where(item => item.Key.StartsWith(prefix, StringComparison.Ordinal)).ToDictionary(item => item.Key[prefix.Length..], item => item.Value));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (_, _, _, optimizer) in pieces)
        {
            optimizer.Dispose();
            optimizer.Parameters.Values.Dispose();
            optimizer.Parameters.Gradients.Dispose();
        }
        values.Dispose();
        gradients.Dispose();
    }

    private static string Prefix(int piece) => piece.ToString(CultureInfo.InvariantCulture) + ".";

    /// <summary>Neighbouring segments of up to so many numbers together, or one that is longer.</summary>
    private static List<(int First, List<ParameterSegment> Segments)> Cut(IReadOnlyList<ParameterSegment> segments, long length)
    {
        var (cuts, filled) = (new List<(int, List<ParameterSegment>)>(), 0L);
        for (var index = 0; index < segments.Count; index++)
        {
            if (cuts.Count == 0 || filled + segments[index].Length > length)
            {
                cuts.Add((index, []));
                filled = 0;
            }
            cuts[^1].Item2.Add(segments[index]);
            filled += segments[index].Length;
        }
        return cuts;
    }
}
