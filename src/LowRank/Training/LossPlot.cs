using ScottPlot;

namespace LowRank.Training;

/// <summary>The picture of a run's loss: every step faint, the smoothed loss on top.</summary>
internal static class LossPlot
{
    private const int Width = 900, Height = 500;

    /// <summary>Writes a PNG of 900 × 500.</summary>
    /// <param name="path">The picture; replaced where it exists.</param>
    /// <param name="steps">At least one step.</param>
    public static void Write(string path, IReadOnlyList<StepFinished> steps)
    {
        using var plot = new Plot();
        var numbers = steps.Select(step => (double)step.Step).ToArray();
        var each = plot.Add.ScatterLine(numbers, [.. steps.Select(step => step.Loss)], Colors.SteelBlue.WithAlpha(0.35));
        var smoothed = plot.Add.ScatterLine(numbers, [.. steps.Select(step => step.SmoothedLoss)], Colors.DarkOrange);
        (each.LegendText, smoothed.LegendText) = ("each step", "smoothed");
        (each.LineWidth, smoothed.LineWidth) = (1, 3);
        plot.XLabel("step");
        plot.YLabel("loss");
        plot.ShowLegend(Alignment.UpperRight);
        plot.SavePng(path, Width, Height);
    }
}
