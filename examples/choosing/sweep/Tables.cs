using System.Globalization;
using System.Text;
using static System.FormattableString;

namespace LowRank.Examples.Choosing;

/// <summary>The results in words and tables of Markdown: a part for each mark of the page.</summary>
internal static class Tables
{
    /// <summary>The parts by the names of their marks, in the page's order.</summary>
    public static IReadOnlyDictionary<string, string> Of(Results results) => new Dictionary<string, string>
    {
        ["rank and rate"] = RankAndRate(results),
        ["forgetting"] = Forgetting(results),
        ["pictures"] = Pictures(results),
        ["layers"] = Layers(results),
        ["alpha"] = Alpha(results),
        ["seeds"] = Seeds(results),
    };

    private static string RankAndRate(Results results)
    {
        var (cell, best) = (results[Cell.Usual.Name], Grid(results).MinBy(each => each.Lowest.HeldOut)!);
        var text = new StringBuilder();
        text.Append(Invariant($"{cell.Pictures} icons are learned, {cell.HeldOutPictures} are held out. Before training the loss on these is {results.Base.HeldOut:F4}; the tables say how far it is below or above that. Lowest of all: {best.Cell}, {Percent(results.HeldOut(best.Lowest))} after {best.Lowest.Step} steps.\n\n"));
        text.Append("**The lowest loss, and after how many steps**; the lowest of a row is bold\n\n");
        text.Append(GridTable(results, each => each.Lowest.HeldOut, each => Invariant($"{Percent(results.HeldOut(each.Lowest))} ({each.Lowest.Step})")));
        text.Append(Invariant($"\n**After {cell.Last.Step} steps**\n\n"));
        text.Append(GridTable(results, each => each.Last.HeldOut, each => Percent(results.HeldOut(each.Last)) + (each.Diverged ? ", diverged" : "")));
        return text.Append($"\n![Loss on held-out icons over the steps: a panel for each rank, a line for each learning rate](pictures/{Plots.GridFile})\n").ToString();
    }

    private static string Forgetting(Results results)
    {
        var text = new StringBuilder();
        text.Append(Invariant($"Before training the loss on the {results.Cells[0].EmojiPictures} emoji is {results.Base.Emoji:F4}. How far it is above or below that after {results.Cells[0].Last.Step} steps, least first in bold:\n\n"));
        text.Append(GridTable(results, each => each.Last.Emoji, each => Percent(results.Emoji(each.Last))));
        return text.Append($"\n![Left: loss on held-out icons by the number of pictures learned; right: what was learned against what was forgotten, a line for each rank](pictures/{Plots.MoreFile})\n").ToString();
    }

    private static string Pictures(Results results)
    {
        var text = new StringBuilder("| pictures learned | better rate | lowest loss (after steps) | after the last step | emoji after the last step |\n| --- | --- | --- | --- | --- |\n");
        foreach (var cell in Cell.PictureCounts.Select(count => results.BestOfPictures(count)).Append(results.BestOfPictures(null)))
        {
            text.Append(Invariant($"| {cell.Pictures} | {RateOf(cell)} | {Percent(results.HeldOut(cell.Lowest))} ({cell.Lowest.Step}) | {Percent(results.HeldOut(cell.Last))} | {Percent(results.Emoji(cell.Last))} |\n"));
        }
        return text.ToString();
    }

    private static string Layers(Results results)
    {
        var text = new StringBuilder("| layers | rank | numbers | rate | lowest loss (after steps) | after the last step | emoji after the last step |\n| --- | --- | --- | --- | --- | --- | --- |\n");
        foreach (var rate in Cell.TwoRates)
        {
            Append("attention", "16", results.At(16, rate));
            Append("attention+feedforward", "9", results[Cell.LayersName("attention+feedforward", rate)]);
            Append("all", "4, convolutions 2", results[Cell.LayersName("all", rate)]);
        }
        return text.ToString();

        void Append(string layers, string rank, CellResult cell) =>
            text.Append(Invariant($"| `{layers}` | {rank} | {cell.Parameters:N0} | {RateOf(cell)} | {Percent(results.HeldOut(cell.Lowest))} ({cell.Lowest.Step}) | {Percent(results.HeldOut(cell.Last))} | {Percent(results.Emoji(cell.Last))} |\n"));
    }

    private static string Alpha(Results results)
    {
        List<int> steps = [.. results.Cells[0].Moments.Select(moment => moment.Step).Where(step => step == 50 || step > 0 && step % 100 == 0)];
        var text = new StringBuilder($"| alpha | alpha / rank | rate | {string.Join(" | ", steps.Select(step => Invariant($"{step} steps")))} |\n| --- | --- | --- |{string.Concat(steps.Select(_ => " --- |"))}\n");
        foreach (var cell in Cell.Rates.Select(rate => results.At(16, rate))) Append("16", "1", cell);
        foreach (var cell in Cell.RatesOfSmallAlpha.Select(rate => results[Cell.AlphaName(rate)])) Append("1", "1/16", cell);
        return text.ToString();

        void Append(string alpha, string scale, CellResult cell) =>
            text.Append(Invariant($"| {alpha} | {scale} | {RateOf(cell)} |{string.Concat(steps.Select(step => cell.Moments.FirstOrDefault(moment => moment.Step == step) is { } moment ? $" {Percent(results.HeldOut(moment))} |" : " – |"))}\n"));
    }

    private static string Seeds(Results results)
    {
        List<CellResult> cells = [results[Cell.Usual.Name], .. Cell.MoreSeeds.Select(seed => results[Cell.SeedName(seed)])];
        return Invariant($"Rank 4 at {RateOf(cells[0])} with three seeds: lowest {string.Join(", ", cells.Select(cell => Percent(results.HeldOut(cell.Lowest))))}; after the last step {string.Join(", ", cells.Select(cell => Percent(results.HeldOut(cell.Last))))}, on the emoji {string.Join(", ", cells.Select(cell => Percent(results.Emoji(cell.Last))))}.\n");
    }

    /// <summary>A row for each rank, a column for each rate.</summary>
    private static string GridTable(Results results, Func<CellResult, double> value, Func<CellResult, string> shown)
    {
        var text = new StringBuilder($"| rank | numbers | as fp16 | {string.Join(" | ", Cell.Rates.Select(RateText))} |\n| --- | --- | --- |{string.Concat(Cell.Rates.Select(_ => " --- |"))}\n");
        foreach (var rank in Cell.Ranks)
        {
            List<CellResult> row = [.. Cell.Rates.Select(rate => results.At(rank, rate))];
            var least = row.MinBy(value);
            text.Append(Invariant($"| {rank} | {row[0].Parameters:N0} | {row[0].FileBytes / 1000.0:F0} kB |{string.Concat(row.Select(cell => cell == least ? $" **{shown(cell)}** |" : $" {shown(cell)} |"))}\n"));
        }
        return text.ToString();
    }

    private static IEnumerable<CellResult> Grid(Results results) => from rank in Cell.Ranks from rate in Cell.Rates select results.At(rank, rate);

    private static string RateOf(CellResult cell) => RateText(double.Parse(cell.Settings.Single(setting => setting.StartsWith("training.learning_rate=", StringComparison.Ordinal)).Split('=')[1], CultureInfo.InvariantCulture));

    /// <summary>A rate as recipes have it: 3e-4, 1.6e-2.</summary>
    public static string RateText(double rate) => rate.ToString("0.#e-0", CultureInfo.InvariantCulture);

    private static string Percent(double part) => Invariant($"{100 * part:+0.0;−0.0;0.0} %");
}
