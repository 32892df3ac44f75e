using System.Globalization;
using System.Net;
using System.Text;
using LowRank.Foundation;

namespace LowRank.Training;

/// <summary>
/// A run as one page: what was trained on what, how the loss went, the pictures, the recipe. One file with everything in it, made from the run
/// folder alone, so it can be made for a run that goes on, was stopped, or was made by another version.
/// </summary>
public static class RunReport
{
    /// <summary>Colours and measures of pages, on light and dark paper.</summary>
    internal const string Style = """
        :root { color-scheme: light dark; --ink: #1d1f21; --paper: #fdfdfc; --faint: #646a70; --line: #dcdfe2; --main: #c25b12; --raw: #7fa3c4;
          --hue-0: #c25b12; --hue-1: #2a6fb0; --hue-2: #3d8b37; --hue-3: #8e44ad; --hue-4: #b8860b; --hue-5: #16807a; --hue-6: #c0392b; --hue-7: #5d6d7e; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --paper: #17191b; --faint: #9aa0a6; --line: #33373b; --main: #f0883e; --raw: #4f7394;
          --hue-0: #f0883e; --hue-1: #6cb0f0; --hue-2: #7ccf75; --hue-3: #c792ea; --hue-4: #e5c15a; --hue-5: #5fd0c8; --hue-6: #f07178; --hue-7: #a9b7c6; } }
        * { box-sizing: border-box }
        body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 80rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word }
        h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem } .state, figcaption, .faint { color: var(--faint) } p { max-width: 48rem }
        table { border-collapse: collapse } td, th { padding: .15rem 1.2rem .15rem 0; vertical-align: top; text-align: left; font-weight: normal } th, .facts td:first-child { color: var(--faint) }
        td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } .wide { overflow-x: auto; margin: .8rem 0 } details { margin: .5rem 0 } summary { cursor: pointer }
        figure { margin: 1rem 0 } img { max-width: 100%; height: auto; border: 1px solid var(--line); background: #fff } svg { display: block; width: 100%; height: auto }
        pre { background: color-mix(in srgb, var(--line) 35%, transparent); padding: 1rem; overflow-x: auto; font-size: .85rem; margin: .5rem 0 }
        .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem 1.5rem } .plot { margin: 0 }
        .legend { display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: .8rem; padding-left: 10% } .legend span::before { content: ""; display: inline-block; width: 1rem; height: .2rem; margin-right: .35rem; vertical-align: middle; background: var(--own) }
        .bar span { display: inline-block; height: .6rem; background: var(--raw) } @media (max-width: 40rem) { .bar { display: none } td, th { padding-right: .8rem } }
        .warning { border-left: 3px solid var(--main); padding-left: .8rem }
        """;

    /// <summary>Writes <c>report.html</c> into a run folder, over an older one.</summary>
    /// <param name="run">The folder; may hold a run that is not over.</param>
    /// <returns>The page's path.</returns>
    /// <exception cref="CheckpointException">The folder's log cannot be read, or nothing has begun in it.</exception>
    public static string Write(RunFolder run)
    {
        WholeFile.Write(run.Report, Encoding.UTF8.GetBytes(Html(run)));
        return run.Report;
    }

    private static string Html(RunFolder run)
    {
        var events = run.ReadEvents();
        var started = events.OfType<RunStarted>().LastOrDefault() ?? throw new CheckpointException($"the log of the run does not say what it was going to do; in {run.Events}; train again, or resume the run");
        var steps = events.OfType<StepFinished>().ToList();
        var name = Path.GetFileName(run.Path);
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{Text(name)}: a LowRank run</title>\n<style>\n{Style}\n</style></head>\n<body>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h1>{Text(name)}</h1>\n<p class=\"state\">{Text(State(events))}</p>\n");
        Warnings(page, events);
        var measured = events.OfType<ReconstructionMeasured>().ToList();
        Picture(page, run.BeforeAfter, measured.Count > 0 ? "Pictures, and what the autoencoder brings back of them." : "Same prompts and seeds before and after.");
        Facts(page, started.Plan, steps, ReportPlots.HeldOutFact(events), measured);
        Section(page, "How it went", ReportPlots.Of(events));
        Section(page, "Pictures with the highest loss", ReportPlots.HardestPictures(steps));
        Previews(page, events, run);
        Section(page, "Data", ReportData.Of(started.Plan.Data, [.. events.OfType<RunWarning>().Where(warning => warning.OfCaption).Select(warning => warning.Text).Distinct()]));
        if (File.Exists(run.Recipe)) Section(page, "Recipe, every default written out", $"<pre>{Text(File.ReadAllText(run.Recipe).Trim())}</pre>");
        page.Append("</body>\n</html>\n");
        return page.ToString();
    }

    private static string State(IReadOnlyList<TrainingEvent> events) => events[^1] switch
    {
        RunFinished finished => string.Create(CultureInfo.InvariantCulture, $"done: {finished.Steps} steps in {Time(finished.Seconds)}, {finished.At:yyyy-MM-dd HH:mm} UTC"),
        RunStopped stopped => string.Create(CultureInfo.InvariantCulture, $"stopped after step {stopped.Step}: {stopped.Reason}"),
        var last => string.Create(CultureInfo.InvariantCulture, $"not over; last heard of {last.At:yyyy-MM-dd HH:mm} UTC"),
    };

    private static void Warnings(StringBuilder page, IReadOnlyList<TrainingEvent> events)
    {
        foreach (var text in events.OfType<RunWarning>().Where(warning => !warning.OfCaption).Select(warning => warning.Text).Distinct()) page.Append(CultureInfo.InvariantCulture, $"<p class=\"warning\">{Text(text)}</p>\n");
    }

    private static void Facts(StringBuilder page, TrainingPlan plan, List<StepFinished> steps, FormattableString? heldOut, List<ReconstructionMeasured> measured)
    {
        var rows = new List<(string, FormattableString)>
        {
            ("model", $"{plan.Model}: {plan.Family}"),
            ("trained", $"{plan.Parameters:N0} numbers in {plan.Modules} modules; {plan.AdapterBytes / 1e6:0.0##} MB"),
            ("steps", $"{plan.Steps} of {plan.PicturesPerStep} pictures: {plan.Epochs:0.#} epochs"),
        };
        if (steps.Count > 0)
        {
            rows.Add(("loss", $"{steps[^1].SmoothedLoss:0.0000} smoothed at the end, {steps.Min(step => step.SmoothedLoss):0.0000} at its lowest"));
            rows.Add(("time", $"{steps.Select(step => step.Seconds).Order().ElementAt(steps.Count / 2):0.###} s a step (median)"));
            rows.Add(("memory", $"{steps.Max(step => step.MemoryBytes) / 1e9:0.00} GB at most"));
        }
        if (measured.Count > 0) rows.Add(("reconstruction", $"{measured.MinBy(item => item.Step)!.Psnr:0.0} dB before, {measured.MaxBy(item => item.Step)!.Psnr:0.0} dB now; PSNR, mean of {measured[^1].Pictures} pictures"));
        if (heldOut is not null) rows.Insert(Math.Min(4, rows.Count), ("held-out loss", heldOut));
        Section(page, "What was trained", $"<table class=\"facts\">{string.Concat(rows.Select(row => $"<tr><td>{row.Item1}</td><td>{Text(row.Item2.ToString(CultureInfo.InvariantCulture))}</td></tr>"))}</table>");
    }

    private static void Previews(StringBuilder page, IReadOnlyList<TrainingEvent> events, RunFolder run)
    {
        var previews = events.OfType<PreviewWritten>().DistinctBy(preview => preview.Step).Where(preview => File.Exists(run.Preview(preview.Step))).ToList();
        if (previews.Count == 0) return;
        page.Append("<h2>Previews</h2>\n");
        if (File.Exists(run.PreviewSheet)) Picture(page, run.PreviewSheet, "The same prompts and seeds as the run went on, first before training. In full size they lie in previews/.");
        else foreach (var preview in previews) Picture(page, run.Preview(preview.Step), string.Create(CultureInfo.InvariantCulture, $"After step {preview.Step}."));
    }

    private static void Picture(StringBuilder page, string path, string caption)
    {
        if (!File.Exists(path)) return;
        page.Append(CultureInfo.InvariantCulture, $"<figure><img alt=\"{Text(caption)}\" src=\"data:image/png;base64,{Convert.ToBase64String(File.ReadAllBytes(path))}\"><figcaption>{Text(caption)}</figcaption></figure>\n");
    }

    private static void Section(StringBuilder page, string title, string body)
    {
        if (body.Length > 0) page.Append(CultureInfo.InvariantCulture, $"<h2>{Text(title)}</h2>\n{body}\n");
    }

    private static string Time(double seconds) => string.Create(CultureInfo.InvariantCulture, $"{(int)(seconds / 60)} min {seconds % 60:00} s");

    /// <summary>Names, captions and paths are other people's text: none of it becomes markup.</summary>
    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
