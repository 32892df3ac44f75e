using System.Globalization;
using System.Text;

namespace LowRank.Recipes;

/// <summary>The result in words: a table in Markdown, and what can and cannot be told apart.</summary>
internal static class BenchKidTable
{
    /// <summary>As Markdown.</summary>
    public static string Of(BenchKidSummary summary, BenchKidOptions options)
    {
        var text = new StringBuilder();
        if (summary.Quick) text.Append("**The quick form**: fewer arms, trainings and steps than the whole experiment; good for trying it, not for quoting.\n\n");
        var trainings = options.Folds * options.Seeds.Count;
        text.Append(Invariant($"{summary.Pictures} pictures in {options.Folds} folds, {Counted(options.Seeds.Count, "seed")}: {trainings} trainings of each arm, {options.Training.Steps} steps of {options.Training.BatchSize * options.Training.Accumulation} pictures. Mean over the folds, in brackets the range of the trainings; lower is better.\n\n"));
        var measures = summary.Measures();
        text.Append(Invariant($"| arm | learning rate | learns | file | s/step | memory | {string.Join(" | ", measures)} |\n|{string.Concat(Enumerable.Repeat(" --- |", 6 + measures.Count))}\n"));
        foreach (var arm in summary.Arms)
        {
            var values = measures.Select(measure => BenchKidSummary.Last(arm, measure) is { } point ? Value(point) : "–");
            text.Append(Invariant($"| {arm.Arm} | {Rates(arm)} | {(arm.TrainedNumbers == 0 ? "–" : Numbers(arm.TrainedNumbers))} | {(arm.ResultBytes == 0 ? "–" : Bytes(arm.ResultBytes))} | {(arm.SecondsPerStep is { } seconds ? Invariant($"{seconds:0.000}") : "–")} | {(arm.PeakMemoryBytes is { } peak ? Bytes(peak) : "–")} | {string.Join(" | ", values)} |\n"));
        }
        text.Append('\n');
        if (summary.Arms.Any(arm => arm.AtEdge)) text.Append("*: the chosen rate is the smallest or largest of those tried in some fold; a better one may lie outside.\n\n");
        foreach (var line in Sentences(summary, options)) text.Append(Invariant($"- {line}\n"));
        return text.ToString();
    }

    /// <summary>The differences, and the times, each in a sentence.</summary>
    public static IEnumerable<string> Sentences(BenchKidSummary summary, BenchKidOptions options)
    {
        foreach (var item in summary.Differences)
        {
            var verdict = item.ToldApart ? $"{item.Arm} is {(item.Difference < 0 ? "lower" : "higher")}" : "cannot be told apart";
            yield return Invariant($"{item.Measure}, {item.Arm} less {item.Against}: {Signed(item.Difference)} ± {item.HalfWidth:0.0000}: {verdict}");
        }
        if (summary.Arms.FirstOrDefault(arm => arm.Arm == "full") is not { SecondsPerStep: { } whole }) yield break;
        foreach (var arm in summary.Arms.Where(arm => arm.Arm != "full" && arm.SecondsPerStep is not null))
        {
            var ratio = whole / arm.SecondsPerStep!.Value;
            yield return Invariant($"time: a step of {arm.Arm} is {ratio:0.00} times as fast as one of full, which makes {options.Training.Steps / ratio:0} steps in the time of its {options.Training.Steps}");
        }
    }

    private static string Value(BenchKidPoint point) => point.Trainings == 1 ? Invariant($"{point.Mean:0.0000}") : Invariant($"{point.Mean:0.0000} ({point.Low:0.0000} to {point.High:0.0000})");

    private static string Rates(BenchKidArmSummary arm) => arm.Rates.Count == 0 ? "–" : string.Join(", ", arm.Rates.Distinct().Order().Select(rate => rate.ToString("0.##########", CultureInfo.InvariantCulture))) + (arm.AtEdge ? " *" : "");

    internal static string Numbers(long count) => count < 1_000_000 ? Invariant($"{count:#,0}") : Invariant($"{count / 1e6:0.00} M");

    internal static string Bytes(long bytes) => bytes switch
    {
        < 1_000_000 => Invariant($"{bytes / 1e3:0.#} kB"),
        < 1_000_000_000 => Invariant($"{bytes / 1e6:0.#} MB"),
        _ => Invariant($"{bytes / 1e9:0.##} GB"),
    };

    private static string Signed(double value) => (value < 0 ? "−" : "+") + Math.Abs(value).ToString("0.0000", CultureInfo.InvariantCulture);

    private static string Counted(int count, string what) => Invariant($"{count} {what}{(count == 1 ? "" : "s")}");

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
