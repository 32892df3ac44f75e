using LowRank.Images;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

public sealed class PreviewSheetTests : IDisposable
{
    private readonly TinyRun run = new();

    public void Dispose() => run.Dispose();

    private TrainLoraOptions Options => run.Options with { Training = run.Options.Training with { Steps = 6 }, Preview = new PreviewOptions { Every = 2, Prompts = ["a dog", "a cat"], Steps = 1 } };

    [Fact]
    public void The_sheet_grows_with_every_preview_and_shows_what_they_show()
    {
        var heights = new List<int>();
        TinyRun.Train(Options, listen: item => { if (item is PreviewWritten) heights.Add(Sheet().Size.Height); });
        Assert.Equal([0, 2, 4, 6], RunFolder.Open(run.Output).PreviewSteps());
        var sheet = Sheet();
        var (cell, row) = (new PixelSize(128, 128), 128 + 8);
        Assert.Equal([sheet.Size.Height - 2 * row, sheet.Size.Height - row], heights);   // before and step 2, then step 4 too; at the end step 6 as well
        foreach (var (step, fromEnd) in new[] { (6, 0), (4, 1), (2, 2), (0, 3) })
        {
            var preview = ImageFile.Read(RunFolder.Open(run.Output).Preview(step));
            var above = new RgbImage(new PixelSize(sheet.Size.Width, sheet.Size.Height - fromEnd * row), sheet.Pixels[..(3 * sheet.Size.Width * (sheet.Size.Height - fromEnd * row))]);
            for (var picture = 1; picture <= 2; picture++) Assert.Equal(ImageGrid.CutFromEnd(preview, cell, picture).Pixels, ImageGrid.CutFromEnd(above, cell, picture).Pixels);
        }
        // the first row is the base's, the last that of the end
        var beforeAfter = ImageFile.Read(run.Path("run", "before-after.png"));
        Assert.Equal(ImageGrid.CutFromEnd(beforeAfter, cell, 1).Pixels, ImageGrid.CutFromEnd(sheet, cell, 1).Pixels);
    }

    [Fact]
    public void A_resumed_run_ends_with_the_same_sheet()
    {
        TinyRun.Train(Options with { Output = run.Path("whole") });
        using var stop = new CancellationTokenSource();
        TinyRun.Train(Options, listen: item => { if (item is StepFinished { Step: 3 }) stop.Cancel(); }, cancellation: stop.Token);
        TinyRun.Train(Options, resume: true);
        Assert.Equal(File.ReadAllBytes(run.Path("whole", "previews.png")), File.ReadAllBytes(run.Path("run", "previews.png")));
    }

    [Fact]
    public void Previews_of_other_prompts_are_left_out()
    {
        using var stop = new CancellationTokenSource();
        TinyRun.Train(Options, listen: item => { if (item is StepFinished { Step: 3 }) stop.Cancel(); }, cancellation: stop.Token);
        TinyRun.Train(Options with { Preview = Options.Preview with { Prompts = ["a dog", "a horse"] } }, resume: true);
        var two = Sheet().Size.Height;
        TinyRun.Train(Options with { Output = run.Path("four") });
        Assert.Equal(ImageFile.Read(run.Path("four", "previews.png")).Size.Height - 2 * (128 + 8), two);   // steps 4 and 6; before and step 2 show another prompt
    }

    [Fact]
    public void A_long_run_shows_the_first_the_last_and_some_between()
    {
        TinyRun.Train(Options with { Training = Options.Training with { Steps = 20, SaveEvery = 0 }, Preview = Options.Preview with { Every = 1, Prompts = ["a dog"] } });
        Assert.Equal(21, RunFolder.Open(run.Output).PreviewSteps().Count);
        Assert.InRange(Sheet().Size.Height, 16 * (128 + 8), 16 * (128 + 8) + 100);
    }

    private RgbImage Sheet() => ImageFile.Read(run.Path("run", "previews.png"));
}
