using LowRank.Foundation;
using ScottPlot;

namespace LowRank.Recipes;

/// <summary>‖ΔW‖ of an adapter's blocks as bars.</summary>
internal static class AdapterPlot
{
    private const int Width = 900, WidthOfBlock = 60, Height = 400;

    /// <summary>Writes a PNG at least 900 wide, whole or not at all; blocks from left to right as data flows.</summary>
    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="report">Of a file that was read whole.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public static void Write(string path, AdapterReport report)
    {
        var plot = new Plot();
        var blocks = report.Norms.Where(item => double.IsFinite(item.Value)).ToList();
        var bars = plot.Add.Bars(blocks.Select(item => item.Value).ToArray());
        bars.Color = Color.FromHex("#2a6fb0");
        plot.Axes.Bottom.SetTicks([.. blocks.Select((_, place) => (double)place)], [.. blocks.Select(item => item.Key)]);
        plot.Axes.Bottom.TickLabelStyle.Rotation = -45;
        plot.Axes.Bottom.TickLabelStyle.Alignment = Alignment.MiddleRight;
        plot.Axes.Bottom.MinimumSize = 110;
        plot.Axes.Margins(bottom: 0);
        plot.Title($"{Path.GetFileName(report.File)}: length of the change by block, ‖ΔW‖ at strength 1");
        WholeFile.Write(path, plot.GetImageBytes(Math.Max(Width, blocks.Count * WidthOfBlock), Height, ImageFormat.Png));
    }
}
