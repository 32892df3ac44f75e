using ScottPlot;

namespace LowRank.Recipes;

/// <summary>KID over the steps as a picture: a line for each arm, from lowest to highest of its trainings a bar.</summary>
internal static class BenchKidPlot
{
    private const int Width = 1000, HeightOfOne = 460;
    private static readonly Color[] Hues = [Color.FromHex("#c25b12"), Color.FromHex("#2a6fb0"), Color.FromHex("#3d8b37"), Color.FromHex("#8e44ad"), Color.FromHex("#b8860b"), Color.FromHex("#16807a"), Color.FromHex("#c0392b"), Color.FromHex("#5d6d7e")];

    /// <summary>Writes a PNG 1000 wide; one plot for each measure below the other.</summary>
    public static void Write(string path, BenchKidSummary summary)
    {
        var all = new Multiplot();
        var measures = summary.Measures();
        all.AddPlots(measures.Count);
        for (var i = 0; i < measures.Count; i++) Draw(all.GetPlot(i), summary, measures[i]);
        all.SavePng(path, Width, HeightOfOne * measures.Count);
    }

    private static void Draw(Plot plot, BenchKidSummary summary, string measure)
    {
        var start = BenchKidSummary.Last(summary.Arms[0], measure);
        if (start is not null)
        {
            var line = plot.Add.HorizontalLine(start.Mean, 1, Colors.Gray, LinePattern.Dashed);
            line.LegendText = "base";
        }
        foreach (var (arm, index) in summary.Arms.Skip(1).Select((arm, index) => (arm, index)))
        {
            if (arm.Curves.FirstOrDefault(curve => curve.Measure == measure) is not { } curve) continue;
            var points = curve.Points;
            if (start is not null && points[0].Step > 0) points = [start, .. points];   // of arms of which nothing was drawn yet the base is what they begin with
            var colour = Hues[index % Hues.Length];
            var offset = 0.004 * (index - (summary.Arms.Count - 2) / 2.0) * points[^1].Step;   // bars of arms stand beside each other
            var line = plot.Add.Scatter(points.Select(point => point.Step + offset).ToArray(), points.Select(point => point.Mean).ToArray(), colour);
            (line.LegendText, line.LineWidth, line.MarkerSize) = (arm.Arm, 2, 7);
            foreach (var point in points.Where(point => point.High > point.Low)) plot.Add.Line(point.Step + offset, point.Low, point.Step + offset, point.High).Color = colour.WithAlpha(0.6);
        }
        plot.Title(measure);
        plot.XLabel("step");
        plot.ShowLegend(Edge.Right);
    }
}
