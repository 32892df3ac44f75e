using System.Globalization;
using System.Net;
using System.Text;

namespace LowRank.Training;

/// <summary>One line of a plot.</summary>
/// <param name="Name">For the legend.</param>
/// <param name="Values">One for each place; values that are no number are left out.</param>
/// <param name="Faint">Drawn behind, thin and pale.</param>
internal sealed record PlotLine(string Name, double[] Values, bool Faint = false)
{
    /// <summary>Lowest and highest of what each value is the mean of, drawn as a bar; null for none.</summary>
    public (double[] Low, double[] High)? Spread { get; init; }
}

/// <summary>Line plots as SVG, for pages: sharp at any size, readable on light and dark paper (the page's CSS sets the colours).</summary>
internal static class LinePlot
{
    private const int Width = 480, Height = 250, Left = 52, Right = 20, Top = 28, Bottom = 36, MostPoints = 600, FewPoints = 40, Hues = 8;

    /// <summary>The plot with its legend as a <c>figure</c> element.</summary>
    /// <param name="title">What is drawn, with its unit.</param>
    /// <param name="at">Places on the horizontal axis, ascending, at least two.</param>
    /// <param name="lines">Values at these places.</param>
    /// <param name="axis">What the places are.</param>
    public static string Svg(string title, double[] at, IReadOnlyList<PlotLine> lines, string axis = "step")
    {
        var values = lines.SelectMany(line => line.Spread is { } spread ? [.. line.Values, .. spread.Low, .. spread.High] : line.Values).Where(double.IsFinite).DefaultIfEmpty(0).ToList();
        var (low, high) = Spread(values.Min(), values.Max());
        double X(double place) => Left + (place - at[0]) / (at[^1] - at[0]) * (Width - Left - Right);
        double Y(double value) => Top + (high - value) / (high - low) * (Height - Top - Bottom);

        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<figure class=\"plot\"><svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(title)}\" font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"var(--faint)\">");
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Left}\" y=\"15\" font-size=\"13\" fill=\"var(--ink)\">{WebUtility.HtmlEncode(title)}</text>");
        foreach (var value in Ticks(low, high, 6))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<path d=\"M{Left} {Y(value):0.0}H{Width - Right}\" stroke=\"var(--line)\"/><text x=\"{Left - 6}\" y=\"{Y(value) + 4:0.0}\" text-anchor=\"end\">{Short(value)}</text>");
        }
        foreach (var place in Ticks(at[0], at[^1], 8)) svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{X(place):0.0}\" y=\"{Height - Bottom + 15}\" text-anchor=\"middle\">{Short(place)}</text>");
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Width - Right}\" y=\"{Height - 6}\" text-anchor=\"end\">{WebUtility.HtmlEncode(axis)}</text>");
        var plain = lines.Where(line => !line.Faint).ToList();
        foreach (var line in lines.OrderByDescending(line => line.Faint)) svg.Append(Path(line, ColourOf(line), at, X, Y)).Append(Bars(line, ColourOf(line), at, X, Y));
        svg.Append("</svg>");
        if (lines.Count > 1) svg.Append(CultureInfo.InvariantCulture, $"<figcaption class=\"legend\">{string.Concat(lines.Select(line => $"<span style=\"--own:{ColourOf(line)}\">{WebUtility.HtmlEncode(line.Name)}</span>"))}</figcaption>");
        return svg.Append("</figure>").ToString();

        string ColourOf(PlotLine line) => line.Faint ? "var(--raw)" : plain.Count == 1 ? "var(--main)" : string.Create(CultureInfo.InvariantCulture, $"var(--hue-{plain.IndexOf(line) % Hues})");
    }

    /// <summary>Long runs are thinned to their means, so that a page stays small; few places show as dots as well.</summary>
    private static string Path(PlotLine line, string colour, double[] at, Func<double, double> x, Func<double, double> y)
    {
        var each = (line.Values.Length + MostPoints - 1) / MostPoints;
        var points = at.Zip(line.Values).Where(point => double.IsFinite(point.Second)).Chunk(each)
            .Select(chunk => string.Create(CultureInfo.InvariantCulture, $"{x(chunk.Average(point => point.First)):0.0} {y(chunk.Average(point => point.Second)):0.0}")).ToList();
        if (points.Count == 0) return "";
        var dots = points.Count > FewPoints || line.Faint ? "" : $"<path d=\"{string.Concat(points.Select(point => $"M{point}h0"))}\" stroke=\"{colour}\" stroke-width=\"5\" stroke-linecap=\"round\"/>";
        return string.Create(CultureInfo.InvariantCulture,
            $"<path d=\"M{string.Join('L', points)}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{(line.Faint ? 0.8 : 1.8)}\"><title>{WebUtility.HtmlEncode(line.Name)}</title></path>{dots}");
    }

    /// <summary>From lowest to highest at each place.</summary>
    private static string Bars(PlotLine line, string colour, double[] at, Func<double, double> x, Func<double, double> y)
    {
        if (line.Spread is not { } spread) return "";
        var bars = Enumerable.Range(0, at.Length).Where(place => double.IsFinite(spread.Low[place]) && double.IsFinite(spread.High[place]))
            .Select(place => string.Create(CultureInfo.InvariantCulture, $"M{x(at[place]):0.0} {y(spread.Low[place]):0.0}V{y(spread.High[place]):0.0}"));
        return $"<path d=\"{string.Concat(bars)}\" stroke=\"{colour}\" stroke-width=\"1.2\" opacity=\"0.6\"/>";
    }

    /// <summary>Round numbers within a range: 1, 2 or 5 times a power of ten apart.</summary>
    private static IEnumerable<double> Ticks(double low, double high, int about)
    {
        var power = Math.Pow(10, Math.Floor(Math.Log10((high - low) / about)));
        var step = power * new[] { 1.0, 2, 5, 10 }.First(factor => power * factor * about >= (high - low) * 0.999);
        for (var tick = Math.Ceiling(low / step - 1e-6); tick * step <= high + step * 1e-6; tick++) yield return tick * step + 0.0;   // no minus before a zero
    }

    private static (double Low, double High) Spread(double low, double high)
    {
        if (low >= 0 && low < 0.5 * high) low = 0;   // a scale that does not start at 0 makes small changes look large
        return high > low ? (low, high) : (low - 0.5, high + 0.5);
    }

    private static string Short(double value) => Math.Abs(value) is > 0 and < 0.001 or >= 1000000
        ? value.ToString("0.#e0", CultureInfo.InvariantCulture)
        : value.ToString("0.####", CultureInfo.InvariantCulture);
}
