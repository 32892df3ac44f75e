using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Running means of squares for every parameter, factored over the last two axes (Shazeer and Stern 2018, "Adafactor", section 3): the means
/// of rows and of columns stand for the whole tensor, so that (n, m) needs n + m numbers. Vectors keep theirs whole. Owns its state.
/// </summary>
internal sealed class FactoredSquares : IDisposable
{
    private readonly IReadOnlyList<ParameterSegment> segments;
    private readonly long[] starts;

    /// <summary>Begins with means of zero.</summary>
    public FactoredSquares(TrainedParameters parameters)
    {
        segments = parameters.Segments;
        starts = new long[segments.Count];
        var end = 0L;
        for (var index = 0; index < starts.Length; index++)
        {
            starts[index] = end;
            var (rows, columns) = Sizes(segments[index]);
            end += rows + columns;
        }
        State = zeros([end], ScalarType.Float32, parameters.Values.device).DetachFromDisposeScope();
    }

    /// <summary>All means, for saving and restoring: of each parameter its rows, then its columns.</summary>
    public Tensor State { get; }

    /// <summary>Takes one tensor of squares into the means of a parameter.</summary>
    /// <param name="index">Of the parameter.</param>
    /// <param name="squares">In its shape, all above 0.</param>
    /// <param name="decay">Share of the old means that stays.</param>
    /// <returns>1 / √(mean square) for every number, in the parameter's shape.</returns>
    public Tensor Update(int index, Tensor squares, double decay)
    {
        using var scope = NewDisposeScope();
        var segment = segments[index];
        var (rowCount, columnCount) = Sizes(segment);
        var shape = segment.Shape.ToArray();
        if (shape.Length < 2)
        {
            var whole = State.narrow(0, starts[index], rowCount).MultiplyInPlace(decay).AddInPlace(squares.flatten(), 1 - decay);
            return whole.rsqrt().view(shape).MoveToOuterDisposeScope();
        }
        var rows = State.narrow(0, starts[index], rowCount).view(shape[..^1]).MultiplyInPlace(decay).AddInPlace(squares.mean([-1]), 1 - decay);
        var columns = State.narrow(0, starts[index] + rowCount, columnCount).view([.. shape[..^2], shape[^1]]).MultiplyInPlace(decay).AddInPlace(squares.mean([-2]), 1 - decay);
        return rows.div(rows.mean([-1], keepdim: true)).rsqrt_().unsqueeze(-1).mul(columns.rsqrt().unsqueeze(-2)).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose() => State.Dispose();

    private static (long Rows, long Columns) Sizes(ParameterSegment segment) =>
        segment.Shape.Count < 2 ? (segment.Length, 0) : (segment.Length / segment.Shape[^1], segment.Length / segment.Shape[^2]);
}
