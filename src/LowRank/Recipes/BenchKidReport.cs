using System.Globalization;
using System.Net;
using System.Text;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>The experiment as one page: plots over steps and over time, the table, pictures of every arm, and the recipe.</summary>
internal static class BenchKidReport
{
    private const int ShownPictures = 12, ShownSide = 96;

    /// <summary>Writes the sheet of pictures and the page.</summary>
    public static void Write(BenchKidExperiment folder, BenchKidOptions options, BenchKidData data, BenchKidSummary summary)
    {
        ImageFile.WritePng(folder.Sheet, Sheet(options, data));
        WholeFile.Write(folder.Report, Encoding.UTF8.GetBytes(Html(folder, options, summary)));
    }

    /// <summary>Pictures of the first fold and seed: the real ones, the base's and each arm's, none of them picked.</summary>
    private static RgbImage Sheet(BenchKidOptions options, BenchKidData data)
    {
        var test = data.Test(0);
        List<BenchKidPicture> shown = [.. Enumerable.Range(0, Math.Min(ShownPictures, test.Count)).Select(index => test[index * test.Count / Math.Min(ShownPictures, test.Count)])];
        var parts = BenchKidPart.All(options).Where(part => part.Fold == 0 && (part.Purpose == BenchKidPurpose.Base || part.Purpose == BenchKidPurpose.Judge && part.Seed == options.Seeds[0])).ToList();
        List<List<RgbImage>> rows = [[.. shown.Select(picture => Square(ImageFile.Read(picture.Source)))]];
        foreach (var part in parts)
        {
            var drawn = BenchKidPictures.Folder(part.Folder(options), part.Purpose == BenchKidPurpose.Base ? 0 : options.Training.Steps);
            rows.Add([.. shown.Select(picture => Square(ImageFile.Read(BenchKidPictures.File(drawn, picture, 0))))]);
        }
        return ImageGrid.Sheet(rows, [.. shown.Select(picture => picture.Caption.Split('\n')[0])], ["real, not trained on", "base", .. parts.Skip(1).Select(part => part.Arm)]);
    }

    private static RgbImage Square(RgbImage picture)
    {
        var size = new PixelSize(ShownSide, ShownSide);
        return picture.Size == size ? picture : new RgbImage(size, PillowResize.Resize(picture.Pixels, picture.Size, 3, size, PillowFilter.Bicubic));
    }

    private static string Html(BenchKidExperiment folder, BenchKidOptions options, BenchKidSummary summary)
    {
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{Text(Path.GetFileName(folder.Path))}: LoRA against full fine-tuning</title>\n<style>\n{RunReport.Style}\n</style></head>\n<body>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h1>LoRA against full fine-tuning{(summary.Quick ? ": the quick form" : "")}</h1>\n<p class=\"state\">{Text(options.Portable().Model)}, {summary.Pictures} pictures in {options.Folds} folds, seeds {string.Join(", ", options.Seeds)}</p>\n");
        page.Append("<h2>How it went</h2>\n<p class=\"faint\">Means over the folds; bars reach from the lowest to the highest training. Lower is better.</p>\n<div class=\"plots\">");
        foreach (var measure in summary.Measures())
        {
            page.Append(Plot(summary, measure, $"{measure} over steps", "step", (_, step) => step));
            if (summary.Arms.Skip(1).All(arm => arm.SecondsPerStep is not null)) page.Append(Plot(summary, measure, $"{measure} over training time", "seconds of training", (arm, step) => Math.Round(step * arm.SecondsPerStep!.Value, 2)));
        }
        page.Append("</div>\n<h2>What came of it</h2>\n").Append(Table(BenchKidTable.Of(summary, options)));
        page.Append(CultureInfo.InvariantCulture, $"<h2>Pictures</h2>\n<figure><img alt=\"real pictures, and those of every arm\" src=\"data:image/png;base64,{Convert.ToBase64String(File.ReadAllBytes(folder.Sheet))}\"><figcaption>First fold, first seed, last step; the same noise in every row; none picked.</figcaption></figure>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h2>Recipe, every default written out</h2>\n<pre>{Text(summary.Recipe.Trim())}</pre>\n</body>\n</html>\n");
        return page.ToString();
    }

    /// <summary>A line for each arm; the base's value is where arms of which nothing was drawn at step 0 begin.</summary>
    private static string Plot(BenchKidSummary summary, string measure, string title, string axis, Func<BenchKidArmSummary, int, double> placeOf)
    {
        var start = BenchKidSummary.Last(summary.Arms[0], measure);
        var curves = summary.Arms.Skip(1).Where(arm => arm.Curves.Any(curve => curve.Measure == measure)).Select(arm =>
        {
            var points = arm.Curves.First(curve => curve.Measure == measure).Points;
            if (start is not null && points[0].Step > 0) points = [start, .. points];
            return (Arm: arm, Points: points.ToDictionary(point => placeOf(arm, point.Step)));
        }).ToList();
        double[] at = [.. curves.SelectMany(curve => curve.Points.Keys).Distinct().Order()];
        double[] Along(Dictionary<double, BenchKidPoint> points, Func<BenchKidPoint, double> value) => [.. at.Select(place => points.TryGetValue(place, out var point) ? value(point) : double.NaN)];
        return LinePlot.Svg(title, at, [.. curves.Select(curve => new PlotLine(curve.Arm.Arm, Along(curve.Points, point => point.Mean)) { Spread = (Along(curve.Points, point => point.Low), Along(curve.Points, point => point.High)) })], axis);
    }

    /// <summary>The Markdown of the result, which is a table, paragraphs and a list, as HTML.</summary>
    private static string Table(string markdown)
    {
        var html = new StringBuilder();
        foreach (var block in markdown.Split("\n\n", StringSplitOptions.RemoveEmptyEntries))
        {
            var lines = block.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            if (block.StartsWith('|'))
            {
                var rows = lines.Where((_, index) => index != 1).Select((line, index) => (Cells: line.Trim('|').Split('|'), Tag: index == 0 ? "th" : "td"));
                html.Append("<div class=\"wide\"><table>").Append(string.Concat(rows.Select(row => $"<tr>{string.Concat(row.Cells.Select(cell => $"<{row.Tag}>{Text(cell.Trim())}</{row.Tag}>"))}</tr>\n"))).Append("</table></div>\n");
            }
            else if (block.StartsWith('-')) html.Append("<ul>").Append(string.Concat(lines.Select(line => $"<li>{Text(line[2..])}</li>\n"))).Append("</ul>\n");
            else html.Append(CultureInfo.InvariantCulture, $"<p>{Text(block.Trim().Replace("**", "", StringComparison.Ordinal))}</p>\n");
        }
        return html.ToString();
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
