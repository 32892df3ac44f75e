using System.Text.RegularExpressions;

namespace LowRank.Examples.Choosing;

/// <summary>The page that shows the results, between marks: <c>&lt;!-- results: seeds --&gt;</c> … <c>&lt;!-- end --&gt;</c>.</summary>
internal static partial class Page
{
    /// <summary>Puts every part between its marks, in place of what is there, and the plots into the folder pictures beside the page.</summary>
    /// <param name="path">The page.</param>
    /// <param name="results">What to show.</param>
    /// <param name="folder">Where the plots were written.</param>
    /// <exception cref="SweepException">A mark is missing, or one that nothing belongs to.</exception>
    public static void Fill(string path, Results results, string folder)
    {
        if (!File.Exists(path)) throw new SweepException($"there is no page {path}\n  try         docs/choosing.md, from the repository's folder");
        var (text, parts) = (File.ReadAllText(path), Tables.Of(results));
        var marks = Marked().Matches(text).Select(match => match.Groups["name"].Value).ToHashSet();
        if (!marks.SetEquals(parts.Keys)) throw new SweepException($"the marks of {path} are not those of the results\n  there are   {string.Join(", ", marks)}\n  needed      {string.Join(", ", parts.Keys)}, each as <!-- results: NAME --> and, below it, <!-- end -->");
        File.WriteAllText(path, Marked().Replace(text, match => $"<!-- results: {match.Groups["name"].Value} -->\n\n{parts[match.Groups["name"].Value]}\n<!-- end -->"));
        foreach (var plot in new[] { Plots.GridFile, Plots.MoreFile }) File.Copy(Path.Combine(folder, plot), Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, "pictures", plot), overwrite: true);
    }

    [GeneratedRegex("<!-- results: (?<name>[a-z ]+) -->.*?<!-- end -->", RegexOptions.Singleline)]
    private static partial Regex Marked();
}
