using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

public sealed class RunReportTests : IDisposable
{
    private readonly TinyRun run = new();

    public void Dispose() => run.Dispose();

    [Fact]
    public void The_page_holds_the_whole_run_in_one_file()
    {
        var options = run.Options with { Preview = new PreviewOptions { Every = 2, Prompts = ["a dog"], Steps = 1 } };
        var page = File.ReadAllText(TinyRun.Train(options).Report);
        Assert.Equal(run.Path("run", "report.html"), RunFolder.Open(run.Output).Report);
        foreach (var picture in (string[])["before-after.png", "previews.png"])
        {
            Assert.Contains(Convert.ToBase64String(File.ReadAllBytes(run.Path("run", picture))), page, StringComparison.Ordinal);
        }
        Assert.Contains(">done: 4 steps in 0 min ", page, StringComparison.Ordinal);
        Assert.Contains("learning_rate = 0.01", page, StringComparison.Ordinal);
        Assert.Contains("pictures</td><td class=\"n\">3</td><td>64×64 to 96×48</td><td class=\"n\">3</td><td class=\"n\">3</td><td class=\"n\">0</td><td class=\"n\">0</td></tr>", page, StringComparison.Ordinal);
        foreach (var plot in (string[])["loss", "error by timestep", "norm of what was learned", "gradient norm, before clipping", "learning rate", "memory, GB"]) Assert.Contains($"aria-label=\"{plot}\"", page, StringComparison.Ordinal);
        Assert.DoesNotContain("http", page.Replace("http-equiv", "", StringComparison.Ordinal), StringComparison.Ordinal);   // nothing is fetched from anywhere
    }

    [Fact]
    public void The_page_says_what_was_found_left_out_and_cut()
    {
        File.WriteAllBytes(run.Path("pictures", "broken.png"), [1, 2, 3]);
        File.WriteAllText(run.Path("pictures", "a.txt"), string.Join(' ', Enumerable.Repeat("dog", 90)));
        var page = File.ReadAllText(TinyRun.Train(run.Options with { Data = [run.Options.Data[0] with { Repeats = 2 }] }).Report);
        var data = page[page.IndexOf("<h2>Data</h2>", StringComparison.Ordinal)..page.IndexOf("<h2>Recipe", StringComparison.Ordinal)];
        Assert.Contains("<td>64×64 to 96×48</td><td class=\"n\">3</td><td class=\"n\">6</td><td class=\"n\">0</td><td class=\"n\">1</td></tr>", data, StringComparison.Ordinal);
        Assert.Contains("<tr><td>64×64</td><td class=\"n\">2</td>", data, StringComparison.Ordinal);
        Assert.Contains("<summary>1 skipped</summary>", data, StringComparison.Ordinal);
        Assert.Contains("broken.png: ", data, StringComparison.Ordinal);
        Assert.Contains("<summary>1 captions cut</summary>", data, StringComparison.Ordinal);
        Assert.Contains("a caption is longer than", data, StringComparison.Ordinal);
        Assert.DoesNotContain("a caption is longer than", page[..page.IndexOf("<h2>Data</h2>", StringComparison.Ordinal)], StringComparison.Ordinal);
    }

    [Fact]
    public void The_page_shows_what_became_of_held_out_pictures()
    {
        var options = run.Options with { Validation = new ValidationOptions { Share = 0.2, Every = 1 } };
        var page = File.ReadAllText(TinyRun.Train(options).Report);
        var measures = RunFolder.Open(run.Output).ReadEvents().OfType<HeldOutMeasured>().ToList();
        var lowest = measures.MinBy(measure => measure.Loss)!;
        var better = measures[^1].Loss < measures[0].Loss ? 1 : 0;   // there is one picture
        Assert.Contains(string.Create(CultureInfo.InvariantCulture, $"<td>held-out loss</td><td>{measures[0].Loss:0.0000} before training, {measures[^1].Loss:0.0000} at step 4 ({100 * (measures[^1].Loss / measures[0].Loss - 1):+0.0;-0.0;0.0} %), lowest {lowest.Loss:0.0000} at step {lowest.Step}; {better} of 1 pictures better than at first</td>").Replace("+", "&#x2B;", StringComparison.Ordinal),
            page.Replace("&#43;", "&#x2B;", StringComparison.Ordinal).Replace(" (+", " (&#x2B;", StringComparison.Ordinal), StringComparison.Ordinal);
        foreach (var plot in (string[])["loss on held-out pictures", "held-out loss by timestep, change in %"]) Assert.Contains($"aria-label=\"{plot}\"", page, StringComparison.Ordinal);
        Assert.Contains("timestep 100</span>", page, StringComparison.Ordinal);
    }

    [Fact]
    public void The_hardest_pictures_and_errors_by_timestep_outlive_a_stop()
    {
        var options = run.Options with { Data = [run.Options.Data[0] with { Repeats = 2 }], Training = run.Options.Training with { Steps = 8, BatchSize = 1, Accumulation = 2 } };
        var whole = Watched(TinyRun.Train(options with { Output = run.Path("whole") }).Report);
        using var stop = new CancellationTokenSource();
        TinyRun.Train(options, listen: item => { if (item is StepFinished { Step: 3 }) stop.Cancel(); }, cancellation: stop.Token);
        Assert.Equal(whole, Watched(TinyRun.Train(options, resume: true).Report));
        var uses = RunFolder.Open(run.Output).ReadEvents().OfType<StepFinished>().Select(step => step.Uses).ToList();
        Assert.All(uses, step => Assert.Equal(2, step.Count));
        Assert.Equal(["a.png", "b.png", "c.png"], uses.SelectMany(step => step).Select(use => use.Picture).Distinct().Order());
        foreach (var picture in (string[])["a.png", "b.png", "c.png"]) Assert.Contains($"<td>{picture}</td>", whole, StringComparison.Ordinal);
        Assert.Equal(16, Regex.Matches(whole, "<td class=\"n\">([0-9]+)</td></tr>").Sum(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture)));

        static string Watched(string page)
        {
            var text = File.ReadAllText(page);
            var (errors, table) = (text.IndexOf("aria-label=\"error by timestep\"", StringComparison.Ordinal), text.IndexOf("<h2>Pictures with the highest loss</h2>", StringComparison.Ordinal));
            return text[errors..text.IndexOf("aria-label=\"gradient", StringComparison.Ordinal)] + text[table..text.IndexOf("<h2>Data</h2>", StringComparison.Ordinal)];
        }
    }

    [Fact]
    public void What_users_wrote_is_text_and_no_markup()
    {
        Directory.Move(run.Pictures, run.Path("<script>alert(1)</script>".Replace("/", "", StringComparison.Ordinal)));
        var options = run.Options with { Data = [run.Options.Data[0] with { Folder = run.Path("<script>alert(1)<script>"), Prefix = "<b>&" }] };
        var page = File.ReadAllText(TinyRun.Train(options).Report);
        Assert.DoesNotContain("<script", page, StringComparison.Ordinal);
        Assert.DoesNotContain("<b>", page, StringComparison.Ordinal);
        Assert.Contains("&lt;b&gt;&amp;", page, StringComparison.Ordinal);
    }

    [Fact]
    public void A_stopped_run_has_a_page_that_says_so_and_a_resumed_one_says_it_is_done()
    {
        using var stop = new CancellationTokenSource();
        var page = File.ReadAllText(TinyRun.Train(run.Options, listen: item => { if (item is StepFinished { Step: 3 }) stop.Cancel(); }, cancellation: stop.Token).Report);
        Assert.Contains(">stopped after step 3: interrupted<", page, StringComparison.Ordinal);
        page = File.ReadAllText(TinyRun.Train(run.Options, resume: true).Report);
        Assert.Contains(">done: 4 steps", page, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_that_goes_on_has_a_page_since_its_first_save()
    {
        var pages = new List<bool>();
        TinyRun.Train(run.Options, listen: item => { if (item is StepFinished) pages.Add(File.Exists(run.Path("run", "report.html"))); });
        Assert.Equal([false, false, true, true], pages);
    }

    [Fact]
    public void A_folder_whose_log_does_not_begin_is_refused()
    {
        Directory.CreateDirectory(run.Output);
        File.WriteAllText(run.Path("run", "events.jsonl"), "");
        var problem = Assert.Throws<CheckpointException>(() => RunReport.Write(RunFolder.Open(run.Output)));
        Assert.Equal($"the log of the run does not say what it was going to do; in {run.Path("run", "events.jsonl")}; train again, or resume the run", problem.Message);
    }

    [Fact]
    public void A_plot_of_a_long_run_stays_small_and_leaves_out_what_is_no_number()
    {
        var at = Enumerable.Range(1, 100_000).Select(step => (double)step).ToArray();
        var svg = LinePlot.Svg("loss", at, [new PlotLine("each step", [.. at.Select(step => step == 7 ? double.NaN : 1 / step)])]);
        Assert.InRange(svg.Length, 3000, 12_000);
        Assert.DoesNotContain("NaN", svg, StringComparison.Ordinal);
        Assert.Contains(">100000</text>", svg, StringComparison.Ordinal);
    }
}
