using System.Text.Json;

namespace LowRank.Examples.Choosing;

/// <summary>All trainings of the sweep, to be looked up by name.</summary>
internal sealed class Results
{
    /// <summary>Names of what is written to the sweep's folder.</summary>
    public const string NumbersFile = "results.json", TablesFile = "results.md";

    private readonly Dictionary<string, CellResult> named;

    private Results(IReadOnlyList<CellResult> cells) => (Cells, named) = (cells, cells.ToDictionary(cell => cell.Cell));

    /// <summary>In the order of <see cref="Cell.All"/>.</summary>
    public IReadOnlyList<CellResult> Cells { get; }

    /// <summary>The loss before training.</summary>
    public Moment Base => Cells[0].Moments[0];

    /// <summary>Puts them together.</summary>
    /// <exception cref="SweepException">They are of several models, or of several sets of pictures.</exception>
    public static Results Of(IReadOnlyList<CellResult> cells)
    {
        const double rounding = 1e-6;
        var first = cells[0].Moments[0];
        var other = cells.FirstOrDefault(cell => Math.Abs(cell.Moments[0].HeldOut - first.HeldOut) > rounding || Math.Abs(cell.Moments[0].Emoji - first.Emoji) > rounding);
        return other is null ? new Results(cells) : throw new SweepException($"the trainings begin with different losses, as with different models or pictures: {cells[0].Cell} and {other.Cell}\n  try         another --output, or to remove the folder of one of them");
    }

    /// <summary>The training of a name.</summary>
    public CellResult this[string name] => named[name];

    /// <summary>The one of the grid.</summary>
    public CellResult At(int rank, double rate) => named[Cell.GridName(rank, rate)];

    /// <summary>Of those that learned so many pictures the one with the lowest loss; null pictures: all of them.</summary>
    public CellResult BestOfPictures(int? count) => Cell.TwoRates.Select(rate => count is { } some ? named[Cell.PicturesName(some, rate)] : At(4, rate)).MinBy(cell => cell.Lowest.HeldOut)!;

    /// <summary>How much a loss on held-out icons is above that of the base; 0.1 is ten percent.</summary>
    public double HeldOut(Moment moment) => moment.HeldOut / Base.HeldOut - 1;

    /// <summary>The same on emoji.</summary>
    public double Emoji(Moment moment) => moment.Emoji / Base.Emoji - 1;

    /// <summary>Writes numbers, tables and plots.</summary>
    public void Write(string folder)
    {
        File.WriteAllText(Path.Combine(folder, NumbersFile), JsonSerializer.Serialize(Cells, ResultJson.Default.IReadOnlyListCellResult) + "\n");
        File.WriteAllText(Path.Combine(folder, TablesFile), string.Join('\n', Tables.Of(this).Select(part => $"## {part.Key}\n\n{part.Value}")));
        Plots.Write(folder, this);
    }
}
