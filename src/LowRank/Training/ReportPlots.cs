using System.Globalization;
using System.Net;
using System.Text;

namespace LowRank.Training;

/// <summary>The parts of a run's page that show its numbers: plots, and the pictures that were hard.</summary>
internal static class ReportPlots
{
    private const int PicturesListed = 12, BarWidth = 8;

    /// <summary>Every number of a run over its steps; empty while there are less than two steps.</summary>
    public static string Of(IReadOnlyList<TrainingEvent> events)
    {
        var steps = events.OfType<StepFinished>().ToList();
        if (steps.Count < 2) return "";
        var at = steps.Select(step => (double)step.Step).ToArray();
        List<string> plots =
        [
            LinePlot.Svg("loss", at, [new("each step", [.. steps.Select(step => step.Loss)], Faint: true), new("smoothed", [.. steps.Select(step => step.SmoothedLoss)])]),
            .. HeldOut([.. events.OfType<HeldOutMeasured>()]),
            .. ByTimestep(steps),
            .. Norms([.. events.OfType<NormsMeasured>()]),
            LinePlot.Svg("gradient norm, before clipping", at, [new("each step", [.. steps.Select(step => step.GradientNorm)])]),
            LinePlot.Svg("learning rate", at, [new("as used", [.. steps.Select(step => step.LearningRate)])]),
            LinePlot.Svg("memory, GB", at, [new("resident", [.. steps.Select(step => step.MemoryBytes / 1e9)])]),
        ];
        return $"<div class=\"plots\">{string.Concat(plots)}</div>";
    }

    /// <summary>What the measures of held-out pictures came to, in a line; null where there are less than two.</summary>
    public static FormattableString? HeldOutFact(IReadOnlyList<TrainingEvent> events)
    {
        if (events.OfType<HeldOutMeasured>().ToList() is not [var first, .., var last] measures) return null;
        var lowest = measures.MinBy(measure => measure.Loss)!;
        var better = first.Pictures.Zip(last.Pictures).Count(picture => picture.Second.Loss < picture.First.Loss);   // in one order in every measure; a folder in two data sets has its names twice
        return $"{first.Loss:0.0000} {(first.Step == 0 ? "before training" : $"at step {first.Step}")}, {last.Loss:0.0000} at step {last.Step} ({100 * (last.Loss / first.Loss - 1):+0.0;-0.0;0.0} %), lowest {lowest.Loss:0.0000} at step {lowest.Step}; {better} of {last.Pictures.Count} pictures better than at first";
    }

    /// <summary>The pictures whose predictions were off more than those of others at the same timesteps; empty where nothing is known of pictures.</summary>
    public static string HardestPictures(List<StepFinished> steps)
    {
        var pictures = PictureDifficulty.Of([.. steps.SelectMany(step => step.Uses)]);
        if (pictures.Count < 2) return "";
        var html = new StringBuilder();
        html.Append("<p class=\"faint\">1 is as hard as the others at the same timesteps. Far above 1: look at the picture and its caption for what does not belong.</p>");
        html.Append("<div class=\"wide\"><table><tr><th>picture</th><th class=\"n\">against the others</th><th class=\"bar\"></th><th class=\"n\">mean error</th><th class=\"n\">uses</th></tr>\n");
        foreach (var picture in pictures.Take(PicturesListed))
        {
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{WebUtility.HtmlEncode(picture.Picture)}</td><td class=\"n\">{picture.Relative:0.00}</td>{Bar(picture.Relative / pictures[0].Relative)}<td class=\"n\">{picture.Error:0.0000}</td><td class=\"n\">{picture.Uses}</td></tr>\n");
        }
        html.Append("</table></div>");
        if (pictures.Count > PicturesListed) html.Append(CultureInfo.InvariantCulture, $"<p class=\"faint\">{pictures.Count - PicturesListed} more are below these; all uses stand in events.jsonl.</p>");
        return html.ToString();
    }

    /// <summary>A cell with a bar of so much of its full width.</summary>
    public static string Bar(double share) =>
        string.Create(CultureInfo.InvariantCulture, $"<td class=\"bar\"><span style=\"width:{share * BarWidth:0.0}rem\"></span></td>");

    /// <summary>The loss on held-out pictures, and what became of it at each timestep: these differ too much in size for one scale, so each is shown against its first.</summary>
    private static IEnumerable<string> HeldOut(List<HeldOutMeasured> measures)
    {
        if (measures.Count < 2) yield break;
        var at = measures.Select(measure => (double)measure.Step).ToArray();
        yield return LinePlot.Svg("loss on held-out pictures", at, [new("mean", [.. measures.Select(measure => measure.Loss)])]);
        var timesteps = measures[0].Timesteps;
        var same = measures.Where(measure => measure.Timesteps.SequenceEqual(timesteps)).ToList();
        if (timesteps.Count < 2 || same.Count < 2) yield break;
        yield return LinePlot.Svg("held-out loss by timestep, change in %", [.. same.Select(measure => (double)measure.Step)],
            [.. timesteps.Select((timestep, index) => new PlotLine(string.Create(CultureInfo.InvariantCulture, $"timestep {timestep}"), [.. same.Select(measure => 100 * (measure.Losses[index] / same[0].Losses[index] - 1))]))]);
    }

    /// <summary>How far each block has gone.</summary>
    private static IEnumerable<string> Norms(List<NormsMeasured> measures)
    {
        if (measures.Count < 2) yield break;
        var names = measures.SelectMany(measure => measure.Norms.Keys).Distinct();
        yield return LinePlot.Svg("norm of what was learned", [.. measures.Select(measure => (double)measure.Step)],
            [.. names.Select(name => new PlotLine(name, [.. measures.Select(measure => measure.Norms.GetValueOrDefault(name, double.NaN))]))]);
    }

    /// <summary>What the run learned at which noise: the mean error in each range of timesteps, in its first and in its last fifth.</summary>
    private static IEnumerable<string> ByTimestep(List<StepFinished> steps)
    {
        var part = Math.Max(1, steps.Count / 5);
        var (first, last) = (Means(steps.Take(part)), Means(steps.TakeLast(part)));
        if (!first.Any(double.IsFinite) || !last.Any(double.IsFinite)) yield break;
        yield return LinePlot.Svg("error by timestep", [.. Enumerable.Range(0, TimestepBins.Count).Select(TimestepBins.Middle)], [new("first fifth of the steps", first, Faint: true), new("last fifth", last)], "timestep: more is noisier");

        static double[] Means(IEnumerable<StepFinished> part) => TimestepBins.Means(part.SelectMany(step => step.Uses));
    }
}
