using System.Globalization;
using System.Net;
using System.Text;
using LowRank.Data;

namespace LowRank.Training;

/// <summary>The part of a run's page about its pictures: what each folder gave, in which sizes, what was left out and which captions were cut.</summary>
internal static class ReportData
{
    /// <summary>As HTML.</summary>
    /// <param name="report">What was found.</param>
    /// <param name="captions">What was said of single captions.</param>
    public static string Of(DataReport report, IReadOnlyList<string> captions)
    {
        var html = new StringBuilder();
        html.Append("<div class=\"wide\"><table><tr><th>folder</th><th class=\"n\">pictures</th><th>sizes</th><th class=\"n\">own captions</th><th class=\"n\">uses an epoch</th><th class=\"n\">held out</th><th class=\"n\">skipped</th></tr>\n");
        foreach (var set in report.Sets)
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{Text(set.Folder)}</td><td class=\"n\">{set.Pictures}</td><td>{Sizes(set)}</td><td class=\"n\">{set.Captions}</td><td class=\"n\">{set.Uses}</td><td class=\"n\">{set.HeldOut}</td><td class=\"n\">{set.Skipped.Count}</td></tr>\n");
        }
        html.Append("</table></div>\n");
        foreach (var set in report.Sets)
        {
            if (set.SharedCaption is { } shared) html.Append(CultureInfo.InvariantCulture, $"<p>All pictures of {Text(set.Folder)} are captioned “{Text(shared)}”.</p>\n");
            foreach (var warning in set.Warnings) html.Append(CultureInfo.InvariantCulture, $"<p class=\"warning\">{Text(warning)}</p>\n");
        }
        Buckets(html, report);
        Folded(html, "skipped", [.. report.Sets.SelectMany(set => set.Skipped, (set, file) => $"{Path.Combine(set.Folder, file.Path)}: {file.Reason}")]);
        Folded(html, "captions cut", captions);
        return html.ToString();
    }

    private static void Buckets(StringBuilder html, DataReport report)
    {
        var buckets = report.Sets.SelectMany(set => set.Buckets).GroupBy(bucket => bucket.Size).Select(group => (Size: group.Key, Pictures: group.Sum(bucket => bucket.Pictures))).OrderBy(item => (double)item.Size.Width / item.Size.Height).ToList();
        if (buckets.Count == 0) return;
        var most = buckets.Max(bucket => bucket.Pictures);
        html.Append("<div class=\"wide\"><table><tr><th>bucket</th><th class=\"n\">pictures</th><th class=\"bar\"></th></tr>\n");
        foreach (var (size, pictures) in buckets) html.Append(CultureInfo.InvariantCulture, $"<tr><td>{size}</td><td class=\"n\">{pictures}</td>{ReportPlots.Bar((double)pictures / most)}</tr>\n");
        html.Append("</table></div>\n");
    }

    /// <summary>A list that may be long: opened by a click, which needs no script.</summary>
    private static void Folded(StringBuilder html, string what, IReadOnlyList<string> lines)
    {
        if (lines.Count > 0) html.Append(CultureInfo.InvariantCulture, $"<details><summary>{lines.Count} {what}</summary><pre>{Text(string.Join('\n', lines))}</pre></details>\n");
    }

    private static string Sizes(DataSetReport set) => set.Smallest == set.Largest ? $"{set.Smallest}" : $"{set.Smallest} to {set.Largest}";

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
