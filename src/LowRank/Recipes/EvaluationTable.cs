using System.Globalization;
using LowRank.Evaluation;

namespace LowRank.Recipes;

/// <summary>One line of an evaluation's table.</summary>
public sealed class EvaluationMeasure
{
    internal EvaluationMeasure(string name, double value, string text, string? earlier, string says) => (Name, Value, Text, Earlier, Says) = (name, value, text, earlier, says);

    /// <summary>As "KID".</summary>
    public string Name { get; }

    /// <summary>The number itself.</summary>
    public double Value { get; }

    /// <summary>The number as people read it, with its spread where it has one.</summary>
    public string Text { get; }

    /// <summary>The same of the evaluation that is compared with, or why there is none; null where nothing is compared.</summary>
    public string? Earlier { get; }

    /// <summary>What it says, in a few words.</summary>
    public string Says { get; }
}

/// <summary>An evaluation as a table, and what to know before it is trusted.</summary>
internal static class EvaluationTable
{
    private const int FewPictures = 50;
    private const int PicturesPerNumber = 4;   // below so many for each number of a feature, FID is mostly its own error

    /// <summary>The lines, each with that of an earlier evaluation where there is one.</summary>
    public static IReadOnlyList<EvaluationMeasure> Of(EvaluationReport report, EvaluationReport? earlier)
    {
        var counts = $"with {report.Real.Count} real and {report.Generated.Count} generated pictures";
        string? OtherCounts(EvaluationReport then) => (then.Real.Count, then.Generated.Count) == (report.Real.Count, report.Generated.Count) ? null : string.Create(CultureInfo.InvariantCulture, $"other counts: {then.Real.Count} real, {then.Generated.Count} generated");
        string? OtherGenerated(EvaluationReport then) => then.Generated.Count == report.Generated.Count ? null : string.Create(CultureInfo.InvariantCulture, $"other count: {then.Generated.Count}");
        string? OtherOverlap(EvaluationReport then) => OtherCounts(then) ?? (then.Overlap.Neighbours == report.Overlap.Neighbours ? null : string.Create(CultureInfo.InvariantCulture, $"other neighbours: {then.Overlap.Neighbours}"));
        var lines = new List<EvaluationMeasure>
        {
            Line("KID", one => one.Kid.Mean, one => Text($"{one.Kid.Mean:0.00000} ± {one.Kid.Deviation:0.00000}{(one.Kid.SubsetSize == report.Kid.SubsetSize ? "" : $" (subsets of {one.Kid.SubsetSize})")}"), _ => null, Text($"distance, less is nearer; mean and deviation of {report.Kid.Subsets} subsets of {report.Kid.SubsetSize}")),
            Line("KID, all pictures", one => one.Kid.AllPictures, one => Text($"{one.Kid.AllPictures:0.00000}"), _ => null, "the same of all pictures at once; around 0, below it too, where the sets are alike"),
            Line("FID", one => one.Fid, one => Text($"{one.Fid:0.000}"), OtherCounts, $"distance, less is nearer; {counts}, comparable only with so many"),
            Line("precision", one => one.Overlap.Precision, one => Text($"{one.Overlap.Precision:0.000}"), OtherOverlap, "share of generated pictures that lie among the real ones"),
            Line("recall", one => one.Overlap.Recall, one => Text($"{one.Overlap.Recall:0.000}"), OtherOverlap, "share of real pictures that lie among the generated ones"),
            Line("density", one => one.Overlap.Density, one => Text($"{one.Overlap.Density:0.000}"), OtherOverlap, "how crowded with real pictures the generated ones' places are"),
            Line("coverage", one => one.Overlap.Coverage, one => Text($"{one.Overlap.Coverage:0.000}"), OtherOverlap, "share of real pictures with a generated one near"),
            Line("diversity", one => one.Diversity.Generated, one => Text($"{one.Diversity.Generated:0.00}"), OtherGenerated, Text($"Vendi score: so many different pictures of {report.Generated.Count}; the {report.Real.Count} real ones have {report.Diversity.Real:0.00}")),
        };
        if (report.Clip is not null)
        {
            lines.Add(Line("CMMD", one => one.Clip?.Cmmd, one => Text($"{one.Clip!.Cmmd:0.000}"), OtherCounts, $"distance by CLIP, less is nearer; {counts}, comparable only with so many"));
            lines.Add(Line("image alignment", one => one.Clip?.ImageAlignment, one => Text($"{one.Clip!.ImageAlignment:0.000}"), _ => null, "mean cosine by CLIP with the mean of the real pictures"));
        }
        if (report.Clip?.Score is not null) lines.Add(Line("CLIP score", one => one.Clip?.Score, one => Text($"{one.Clip!.Score:0.00}"), then => then.Clip!.TextIdentity == report.Clip.TextIdentity ? null : "other text encoder", "agreement of pictures and prompts, more is better"));
        lines.Add(Line("near-duplicates", one => one.Duplicates.Near, one => Text($"{one.Duplicates.Near} of {one.Generated.Count}"), then => then.Duplicates.Sha256 == report.Duplicates.Sha256 ? null : "other training pictures",
            Text($"generated pictures that repeat one of the {report.Duplicates.Count} in training, {report.Duplicates.NearInTraining} of which are like another themselves")));
        return lines;

        EvaluationMeasure Line(string name, Func<EvaluationReport, double?> value, Func<EvaluationReport, string> text, Func<EvaluationReport, string?> obstacle, string says) =>
            new(name, value(report)!.Value, text(report), earlier is null ? null : value(earlier) is null ? "not measured" : obstacle(earlier) ?? text(earlier), says);
    }

    /// <summary>What the numbers of pictures, and a comparison, make doubtful.</summary>
    public static IEnumerable<string> WarningsOf(IFeatureNetwork network, ScannedPictures real, ScannedPictures generated, EvaluationReport? earlier)
    {
        var fewer = Math.Min(real.Count, generated.Count);
        if (fewer < FewPictures) yield return Text($"there are {real.Count} real and {generated.Count} generated pictures: with fewer than {FewPictures} of each, all of these numbers are rough");
        if (fewer < PicturesPerNumber * network.Dimension) yield return Text($"FID: {network.Name} gives {network.Dimension} numbers to a picture, and {fewer} pictures are too few for their covariances; go by KID");
        if (earlier is not null && earlier.Real.Sha256 != real.Sha256) yield return Text($"the earlier evaluation had other real pictures ({earlier.Real.Count} in {earlier.Real.Folder}): differences may come from them");
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
