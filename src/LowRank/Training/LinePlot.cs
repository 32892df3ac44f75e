using System.Globalization;
using System.Net;
using System.Text;

namespace LowRank.Training;

/// <summary>One line of a plot.</summary>
/// <param name="Name">For the legend.</param>
/// <param name="Values">One for each place; values that are no number are left out.</param>
/// <param name="Faint">Drawn behind, thin and pale.</param>
internal sealed record PlotLine(string Name, double[] Values, bool Faint = false);

/// <summary>Line plots as SVG, for pages: sharp at any size, readable on light and dark paper (the page's CSS sets the colours).</summary>
internal static class LinePlot
{
    private const int Width = 480, Height = 240, Left = 52, Right = 8, Top = 26, Bottom = 26, MostPoints = 600;

    /// <summary>The plot as an <c>svg</c> element.</summary>
    /// <param name="title">What is drawn, with its unit.</param>
    /// <param name="at">Places on the horizontal axis, ascending, at least two.</param>
    /// <param name="lines">Values at these places.</param>
    public static string Svg(string title, double[] at, IReadOnlyList<PlotLine> lines)
    {
        var values = lines.SelectMany(line => line.Values).Where(double.IsFinite).DefaultIfEmpty(0).ToList();
        var (low, high) = Spread(values.Min(), values.Max());
        double X(double place) => Left + (place - at[0]) / (at[^1] - at[0]) * (Width - Left - Right);
        double Y(double value) => Top + (high - value) / (high - low) * (Height - Top - Bottom);

        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(title)}\" font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"var(--faint)\">");
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left}\" y=\"14\" font-size=\"13\" fill=\"var(--ink)\">{WebUtility.HtmlEncode(title)}</text>");
        for (var tick = 0; tick <= 4; tick++)
        {
            var value = low + (high - low) * tick / 4;
            svg.Append(CultureInfo.InvariantCulture, $"<path d=\"M{Left} {Y(value):0.0}H{Width - Right}\" stroke=\"var(--line)\"/><text x=\"{Left - 6}\" y=\"{Y(value) + 4:0.0}\" text-anchor=\"end\">{Short(value)}</text>");
        }
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left}\" y=\"{Height - 8}\">{at[0]:0}</text><text x=\"{Width - Right}\" y=\"{Height - 8}\" text-anchor=\"end\">step {at[^1]:0}</text>");
        foreach (var line in lines.OrderByDescending(line => line.Faint)) svg.Append(Path(line, at, X, Y));
        return svg.Append("</svg>").ToString();
    }

    /// <summary>Long runs are thinned to their means, so that a page stays small.</summary>
    private static string Path(PlotLine line, double[] at, Func<double, double> x, Func<double, double> y)
    {
        var each = (line.Values.Length + MostPoints - 1) / MostPoints;
        var points = at.Zip(line.Values).Where(point => double.IsFinite(point.Second)).Chunk(each)
            .Select(chunk => string.Create(CultureInfo.InvariantCulture, $"{x(chunk.Average(point => point.First)):0.0} {y(chunk.Average(point => point.Second)):0.0}"));
        return string.Create(CultureInfo.InvariantCulture,
            $"<path d=\"M{string.Join('L', points)}\" fill=\"none\" stroke=\"var(--{(line.Faint ? "raw" : "main")})\" stroke-width=\"{(line.Faint ? 0.8 : 1.8)}\"><title>{WebUtility.HtmlEncode(line.Name)}</title></path>");
    }

    private static (double Low, double High) Spread(double low, double high)
    {
        if (low >= 0 && low < 0.5 * high) low = 0;   // a scale that does not start at 0 makes small changes look large
        return high > low ? (low, high) : (low - 0.5, high + 0.5);
    }

    private static string Short(double value) => Math.Abs(value) is > 0 and < 0.001 or >= 10000
        ? value.ToString("0.#e0", CultureInfo.InvariantCulture)
        : value.ToString("0.####", CultureInfo.InvariantCulture);
}
