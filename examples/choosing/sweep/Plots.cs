using System.Globalization;
using ScottPlot;

namespace LowRank.Examples.Choosing;

/// <summary>The results as pictures: dark lines on white, readable on pages of either kind, with few colours so that the files stay small.</summary>
internal static class Plots
{
    /// <summary>File names.</summary>
    public const string GridFile = "choosing-rank-rate.png", MoreFile = "choosing-pictures-forgetting.png";

    private const int Width = 1000, PanelHeight = 380;
    private const double HighestShown = 1.1;   // of the base's loss: curves that leave the panel learn nothing any more
    private static readonly Color[] Hues = [Color.FromHex("#2a6fb0"), Color.FromHex("#3d8b37"), Color.FromHex("#c25b12"), Color.FromHex("#8e44ad")];

    /// <summary>Writes both.</summary>
    public static void Write(string folder, Results results)
    {
        var grid = Panels(2, Cell.Ranks.Count / 2);
        var lowest = results.Cells.Min(cell => cell.Lowest.HeldOut);
        for (var i = 0; i < Cell.Ranks.Count; i++)
        {
            var plot = grid.GetPlot(i);
            foreach (var (rate, hue) in Cell.Rates.Zip(Hues)) Curve(plot, results.At(Cell.Ranks[i], rate), "rate " + Tables.RateText(rate), hue);
            Finish(plot, results, string.Create(CultureInfo.InvariantCulture, $"rank {Cell.Ranks[i]}"), lowest);
        }
        Save(grid, Path.Combine(folder, GridFile), 2);

        var more = Panels(1, 2);
        List<CellResult> sets = [.. Cell.PictureCounts.Select(count => results.BestOfPictures(count)), results.BestOfPictures(null)];
        foreach (var (cell, hue) in sets.Zip(Hues)) Curve(more.GetPlot(0), cell, string.Create(CultureInfo.InvariantCulture, $"{cell.Pictures} pictures"), hue);
        Finish(more.GetPlot(0), results, "rank 4: number of pictures", lowest);
        Trade(more.GetPlot(1), results);
        Save(more, Path.Combine(folder, MoreFile), 1);
    }

    private static void Curve(Plot plot, CellResult cell, string name, Color hue)
    {
        var line = plot.Add.Scatter(cell.Moments.Select(moment => (double)moment.Step).ToArray(), cell.Moments.Select(moment => moment.HeldOut).ToArray(), hue);
        (line.LegendText, line.LineWidth, line.MarkerSize) = (name, 2, 6);
    }

    private static void Finish(Plot plot, Results results, string title, double lowest)
    {
        var start = plot.Add.HorizontalLine(results.Base.HeldOut, 1, Colors.Gray, LinePattern.Dashed);
        start.LegendText = "base";
        plot.Title(title);
        plot.XLabel("step");
        plot.YLabel("loss on held-out icons");
        plot.Axes.SetLimitsY(lowest - 0.1 * (results.Base.HeldOut - lowest), HighestShown * results.Base.HeldOut);
        plot.ShowLegend(Alignment.UpperRight);
    }

    /// <summary>What was learned against what was forgotten after the last step: a line for each rank, from the lowest rate to the highest.</summary>
    private static void Trade(Plot plot, Results results)
    {
        foreach (var (rank, hue) in Cell.Ranks.Zip(Hues))
        {
            List<CellResult> cells = [.. Cell.Rates.Select(rate => results.At(rank, rate)).Where(cell => results.HeldOut(cell.Last) < HighestShown - 1)];
            var line = plot.Add.Scatter(cells.Select(cell => 100 * results.HeldOut(cell.Last)).ToArray(), cells.Select(cell => 100 * results.Emoji(cell.Last)).ToArray(), hue);
            (line.LegendText, line.LineWidth, line.MarkerSize) = (string.Create(CultureInfo.InvariantCulture, $"rank {rank}"), 2, 7);
        }
        plot.Title("learned and forgotten, lowest rate to highest");
        plot.XLabel("loss on held-out icons, % of change");
        plot.YLabel("loss on emoji, % of change");
        plot.ShowLegend(Alignment.UpperLeft);
    }

    private static Multiplot Panels(int rows, int columns)
    {
        var all = new Multiplot { Layout = new ScottPlot.MultiplotLayouts.Grid(rows, columns) };
        all.AddPlots(rows * columns);
        return all;
    }

    /// <summary>As a PNG with a palette.</summary>
    private static void Save(Multiplot plots, string path, int rows)
    {
        plots.SavePng(path, Width, PanelHeight * rows);
        using var picture = NetVips.Image.NewFromBuffer(File.ReadAllBytes(path));
        File.WriteAllBytes(path, picture.PngsaveBuffer(palette: true, effort: 10, keep: NetVips.Enums.ForeignKeep.None));
    }
}
