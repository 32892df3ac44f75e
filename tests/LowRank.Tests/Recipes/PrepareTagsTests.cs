using LowRank.Foundation;
using LowRank.Preparation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Data;

namespace LowRank.Tests.Recipes;

public sealed class PrepareTagsTests : IDisposable
{
    private readonly DataFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Pictures_without_a_caption_get_one_and_captions_that_are_there_stay()
    {
        folder.Picture("a.png").Picture("b.png", caption: "by hand\n").Picture("c.png").Text("c.caption", "by hand too").Picture("deeper/d.png").Picture("a.mask.png");
        var result = Run();
        Assert.Equal(["a.png", "b.png", "c.png", "deeper/d.png"], result.Pictures.Select(picture => picture.Picture.Replace('\\', '/')));
        Assert.Equal([false, true, true, false], result.Pictures.Select(picture => picture.Kept));
        Assert.Equal((2, 4, true), (result.Made, result.Found, result.Finished));
        Assert.Equal("by hand\n", Read("b.txt"));
        Assert.Equal("by hand too", Read("c.caption"));
        Assert.False(File.Exists(At("c.txt")) || File.Exists(At("a.mask.txt")));
        Assert.Equal(result.Pictures[0].Made + "\n", Read("a.txt"));
        Assert.StartsWith("1girl, ", Read("a.txt"), StringComparison.Ordinal);
        // what training reads is what was written
        var scan = folder.Read();
        Assert.Equal(result.Pictures[0].Made, scan.Images.Single(image => image.Path == At("a.png")).Caption);
        Assert.Equal(4, scan.Images.Count);
        Assert.Equal(0, Run().Made);
    }

    [Fact]
    public void Only_overwrite_replaces_and_append_adds_to_each_line_what_it_lacks()
    {
        folder.Picture("a.png").Picture("b.png").Picture("c.png", caption: "1girl, by hand\nanother").Picture("d.png").Text("d.txt", "");
        var made = Run(options => options with { Overwrite = true, DryRun = true }).Pictures[2].Made!.Split(", ");
        Assert.Equal("1girl", made[0]);
        Assert.Equal(4, Run(options => options with { Append = true }).Made);
        Assert.Equal($"1girl, by hand, {string.Join(", ", made[1..])}\nanother, {string.Join(", ", made)}\n", Read("c.txt"));
        Assert.StartsWith("1girl, ", Read("d.txt"), StringComparison.Ordinal);
        var again = Run(options => options with { Append = true });
        Assert.Equal((0, "its caption says all of it already"), (again.Made, again.Pictures[2].SkippedBecause));
        Assert.Equal(4, Run(options => options with { Overwrite = true }).Made);
        Assert.Equal(string.Join(", ", made) + "\n", Read("c.txt"));
    }

    [Fact]
    public void A_dry_run_says_what_the_run_writes_and_writes_nothing()
    {
        folder.Picture("a.png").Picture("b.png", seed: 2);
        var before = Directory.GetFiles(folder.FullName);
        var said = Run(options => options with { DryRun = true });
        Assert.Equal(before, Directory.GetFiles(folder.FullName));
        var written = Run();
        Assert.Equal(written.Pictures.Select(picture => picture.Made), said.Pictures.Select(picture => picture.Made));
        Assert.Equal(written.Pictures.SelectMany(picture => picture.Files), said.Pictures.SelectMany(picture => picture.Files));
        Assert.All(written.Pictures.SelectMany(picture => picture.Files), path => Assert.True(File.Exists(path)));
    }

    public static TheoryData<string, string> Changes => new()
    {
        { nameof(PrepareTagsOptions.GeneralThreshold), "other_hero" },
        { nameof(PrepareTagsOptions.CharacterThreshold), "1girl, ^_^, red (hat), big, sky, o o face" },
        { nameof(PrepareTagsOptions.KeepUnderscores), "1girl, ^_^, red_(hat),_big, sky, o_o_face, other_hero" },
        { nameof(PrepareTagsOptions.CharactersFirst), "other hero, 1girl, ^_^, red (hat), big, sky, o o face" },
        { nameof(PrepareTagsOptions.Rating), "1girl, ^_^, red (hat), big, sky, o o face, other hero, questionable" },
        { nameof(PrepareTagsOptions.Exclude), "1girl, ^_^, red (hat), big, other hero" },
        { nameof(PrepareTagsOptions.Trigger), "my style, 1girl, ^_^, red (hat), big, sky, o o face, other hero" },
    };

    [Theory, MemberData(nameof(Changes))]
    public void Every_option_about_tags_changes_the_caption(string option, string caption)
    {
        Func<PrepareTagsOptions, PrepareTagsOptions> change = option switch
        {
            nameof(PrepareTagsOptions.GeneralThreshold) => options => options with { GeneralThreshold = 1, KeepUnderscores = true },
            nameof(PrepareTagsOptions.CharacterThreshold) => options => options with { CharacterThreshold = 1 },
            nameof(PrepareTagsOptions.KeepUnderscores) => options => options with { KeepUnderscores = true },
            nameof(PrepareTagsOptions.CharactersFirst) => options => options with { CharactersFirst = true },
            nameof(PrepareTagsOptions.Rating) => options => options with { Rating = RatingPlace.Last },
            nameof(PrepareTagsOptions.Exclude) => options => options with { Exclude = ["sky", "o_o_face"] },
            _ => options => options with { Trigger = "my style" },
        };
        folder.Picture("a.png");
        var plain = Run(options => options with { DryRun = true }).Pictures[0].Made;
        Assert.Equal("1girl, ^_^, red (hat), big, sky, o o face, other hero", plain);
        Assert.Equal(caption, Run(change).Pictures[0].Made);
    }

    [Fact]
    public void A_stopped_run_leaves_whole_files_and_the_next_one_goes_on()
    {
        for (var i = 0; i < 5; i++) folder.Picture($"{i}.png", seed: i);
        using var stop = new CancellationTokenSource();
        var stopped = PrepareTags.Run(Options, new StopAfter(2, stop), stop.Token);
        Assert.False(stopped.Finished);
        Assert.Equal((2, 5), (stopped.Pictures.Count, stopped.Found));
        Assert.Equal(["0.txt", "1.txt"], Directory.GetFiles(folder.FullName).Select(Path.GetFileName).Where(name => !name!.EndsWith(".png", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        Assert.Equal(3, Run().Made);
    }

    [Fact]
    public void A_broken_picture_is_left_out_with_its_reason_and_nothing_but_broken_ones_is_an_error()
    {
        folder.Bytes("empty.png", []);
        Assert.Equal(
            """
            none of the 1 pictures could be prepared
              empty.png: the file is empty (0 bytes)
              try         other pictures or options: each line says what is wrong with one
            """, Assert.Throws<DatasetException>(() => Run()).Message);
        folder.Picture("good.png");
        var result = Run();
        Assert.Equal(("the file is empty (0 bytes)", false), (result.Pictures[0].SkippedBecause, result.Pictures[0].Kept));
        Assert.Equal(1, result.Made);
    }

    [Fact]
    public void A_picture_of_which_there_is_nothing_to_say_gets_no_empty_caption()
    {
        folder.Picture("a.png").Picture("b.png", caption: "by hand");
        var result = Run(options => options with { GeneralThreshold = 1, CharacterThreshold = 1 });
        Assert.Equal("nothing to say of it", result.Pictures[0].SkippedBecause);
        Assert.False(File.Exists(At("a.txt")));
    }

    private PrepareTagsOptions Options => new() { Folder = folder.FullName, Model = OnnxFiles.Tagger };

    private PreparationResult Run(Func<PrepareTagsOptions, PrepareTagsOptions>? change = null) =>
        PrepareTags.Run(change is null ? Options : change(Options), cancellation: TestContext.Current.CancellationToken);

    private string At(string name) => Path.Combine(folder.FullName, name);

    private string Read(string name) => File.ReadAllText(At(name));

    private sealed class StopAfter(int pictures, CancellationTokenSource stop) : IProgress<PreparationProgress>
    {
        public void Report(PreparationProgress value)
        {
            if (value.Number == pictures) stop.Cancel();
        }
    }
}
