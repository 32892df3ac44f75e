using System.Globalization;
using System.Net;
using System.Text;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>An evaluation as one page: table, plots, the sheet of nearest pictures. One file with everything in it.</summary>
internal static class EvaluationPage
{
    /// <summary>The page.</summary>
    /// <param name="report">What was found.</param>
    /// <param name="earlier">What it is compared with; null for nothing.</param>
    /// <param name="result">The table, and the sheet, which must have been written.</param>
    public static string Html(EvaluationReport report, EvaluationReport? earlier, EvaluateResult result)
    {
        var page = new StringBuilder();
        var title = Path.GetFileName(Path.TrimEndingDirectorySeparator(result.Folder));
        page.Append(CultureInfo.InvariantCulture, $"<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{Text(title)}: a LowRank evaluation</title>\n<style>\n{RunReport.Style}\n.whole {{ white-space: nowrap }}\n</style></head>\n<body>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h1>{Text(title)}</h1>\n<p class=\"state\">{report.Generated.Count} generated pictures against {report.Real.Count} real ones, by {Text(report.Features.Name)}</p>\n");
        foreach (var warning in result.Warnings) page.Append(CultureInfo.InvariantCulture, $"<p class=\"warning\">{Text(warning)}</p>\n");
        page.Append(CultureInfo.InvariantCulture, $"<div class=\"wide\"><table><tr><th>measure</th><th class=\"n\">value</th>{(earlier is null ? "" : "<th class=\"n\">earlier</th>")}<th>says</th></tr>\n");
        foreach (var line in result.Measures) page.Append(CultureInfo.InvariantCulture, $"<tr><td class=\"whole\">{Text(line.Name)}</td><td class=\"n whole\">{Text(line.Text)}</td>{(earlier is null ? "" : $"<td class=\"n whole\">{Text(line.Earlier!)}</td>")}<td class=\"faint\">{Text(line.Says)}</td></tr>\n");
        page.Append("</table></div>\n<div class=\"plots\">");
        if (report.Kid.PerSubset.Count > 1) page.Append(Subsets(report.Kid, earlier?.Kid));
        page.Append(Distances(report.Duplicates, earlier?.Duplicates));
        page.Append("</div>\n<h2>Generated pictures nearest to training pictures</h2>\n");
        page.Append(CultureInfo.InvariantCulture, $"<figure><img alt=\"nearest pairs\" src=\"data:image/png;base64,{Convert.ToBase64String(File.ReadAllBytes(result.Sheet))}\"><figcaption>Up to {report.Duplicates.Limit} of 64 differing bits are a near-duplicate. Greys are compared, not colours.</figcaption></figure>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h2>What was measured</h2>\n<table class=\"facts\">{string.Concat(Facts(report).Select(fact => $"<tr><td>{fact.Name}</td><td>{Text(fact.Value)}</td></tr>\n"))}</table>\n</body>\n</html>\n");
        return page.ToString();
    }

    /// <summary>How far subsets differ: each as a point of a line, the lowest first.</summary>
    private static string Subsets(EvaluatedKid kid, EvaluatedKid? earlier)
    {
        var lines = new List<PlotLine> { new("this", [.. kid.PerSubset.Order()]) };
        if (earlier is not null && (earlier.PerSubset.Count, earlier.SubsetSize) == (kid.PerSubset.Count, kid.SubsetSize)) lines.Add(new("earlier", [.. earlier.PerSubset.Order()]));
        return LinePlot.Svg("KID of the subsets, lowest first", [.. Enumerable.Range(1, kid.PerSubset.Count).Select(place => (double)place)], lines, "subset");
    }

    /// <summary>Repeating shows at the left: training pictures among themselves say how near such pictures are anyway.</summary>
    private static string Distances(EvaluatedDuplicates duplicates, EvaluatedDuplicates? earlier)
    {
        var lines = new List<PlotLine> { new("generated", Shares(duplicates.Distances)), new("training, among themselves", Shares(duplicates.DistancesInTraining), Faint: true) };
        if (earlier is not null && earlier.Sha256 == duplicates.Sha256) lines.Insert(1, new("generated, earlier", Shares(earlier.Distances)));
        return LinePlot.Svg("% of pictures with a training picture so near", [.. Enumerable.Range(0, duplicates.Distances.Count).Select(bits => (double)bits)], lines, "differing bits of 64");

        static double[] Shares(IReadOnlyList<int> counts)
        {
            var (shares, sum, all) = (new double[counts.Count], 0, Math.Max(1, counts.Sum()));
            for (var i = 0; i < shares.Length; i++) shares[i] = 100.0 * (sum += counts[i]) / all;
            return shares;
        }
    }

    private static IEnumerable<(string Name, string Value)> Facts(EvaluationReport report)
    {
        yield return ("real", Of(report.Real));
        yield return ("generated", Of(report.Generated));
        if (report.Drawing is { } drawing)
        {
            var with = string.Concat(drawing.Adapters.Concat(drawing.Embeddings).Select(use => ", " + use));
            yield return ("drawn by", $"{drawing.Model}{with}");
            yield return ("drawn with", Invariant($"{drawing.Prompts} prompts, {drawing.Count} of each, {drawing.Sampler}, {drawing.Steps} steps, guidance {drawing.Guidance}, {drawing.Precision}, seeds from {drawing.FirstSeed} on{(drawing.NegativePrompt is null ? "" : $", not: {drawing.NegativePrompt}")}"));
        }
        yield return ("training", Invariant($"{report.Duplicates.Training}: {report.Duplicates.Count} pictures"));
        yield return ("features", report.Features.Identity);
        if (report.Clip is { } clip) yield return ("CLIP", clip.TextIdentity is { } texts ? $"{clip.Identity}; {texts}" : clip.Identity);
        yield return ("subsets", Invariant($"{report.Kid.Subsets} of {report.Kid.SubsetSize}, seed {report.Kid.Seed}"));
        yield return ("neighbours", Invariant($"{report.Overlap.Neighbours}"));

        static string Of(EvaluatedPictures pictures) => Invariant($"{pictures.Folder}: {pictures.Count} pictures, sha256 {pictures.Sha256}");
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>Names and paths are other people's text: none of it becomes markup.</summary>
    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
