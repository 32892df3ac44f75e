using System.Globalization;
using LowRank.Data;
using LowRank.Foundation;

namespace LowRank.Tests.Data;

public sealed class HeldOutPicturesTests
{
    [Fact]
    public void A_share_is_chosen_by_names_so_that_adding_pictures_moves_no_other_one()
    {
        using var folder = Many(20);
        var first = Read(0.3, folder.Options);
        Assert.Equal(20, first.Images.Count + first.HeldOut.Count);
        Assert.InRange(first.HeldOut.Count, 2, 10);
        for (var i = 20; i < 40; i++) Add(folder, i);
        var later = Read(0.3, folder.Options);
        Assert.Equal(Names(first.HeldOut), Names(later.HeldOut).Intersect(Names(first.HeldOut).Concat(Names(first.Images))));
        Assert.True(later.HeldOut.Count > first.HeldOut.Count);
        Assert.Equal(Names(later.HeldOut), Names(Read(0.4, folder.Options).HeldOut).Intersect(Names(later.HeldOut)));   // a larger share keeps what a smaller one chose
    }

    [Fact]
    public void Neither_folder_nor_ending_nor_content_moves_a_picture_to_the_other_side()
    {
        Assert.Equal(HeldOutPictures.PlaceOf("a/3_dog/x.png"), HeldOutPictures.PlaceOf("b/x.jpg"));
        Assert.NotEqual(HeldOutPictures.PlaceOf("x.png"), HeldOutPictures.PlaceOf("y.png"));
        var places = Enumerable.Range(0, 1000).Select(number => HeldOutPictures.PlaceOf(number.ToString(CultureInfo.InvariantCulture))).ToList();
        Assert.InRange(places.Count(place => place < 0.1), 70, 130);
    }

    [Fact]
    public void Copies_of_a_held_out_picture_are_not_trained_on()
    {
        using var folder = Many(10);
        var held = Read(0.3, folder.Options).HeldOut[0];
        var name = Enumerable.Range(0, 100).Select(number => $"copy {number}").First(name => HeldOutPictures.PlaceOf(name) > 0.3);
        folder.Bytes(name + ".png", File.ReadAllBytes(held.Path)).Text(name + ".txt", "a copy");
        Assert.Contains(name + ".png", Names(Read(0.3, folder.Options).HeldOut));
    }

    [Fact]
    public void The_report_counts_what_is_trained_on_and_says_how_many_are_held_out()
    {
        using var folder = Many(10);
        var data = Read(0.3, folder.Options with { Repeats = 3 });
        var (trained, held) = (data.Images.Count, data.HeldOut.Count);
        Assert.Equal(
            [
                string.Create(CultureInfo.InvariantCulture, $"FOLDER: {trained} pictures, {trained} captions, 0 skipped, {held} held out, {3 * trained} uses an epoch"),
                string.Create(CultureInfo.InvariantCulture, $"  64×64  {trained}"),
            ], data.Report.Lines().Select(folder.Hide));
    }

    [Fact]
    public void A_folder_of_its_own_is_held_out_as_a_whole_and_read_like_any_other()
    {
        using var folder = Many(3);
        using var other = new DataFolder().Picture("new.png", 64, 64, "a tree", seed: 99);
        var data = Read(0, folder.Options, other.Options with { HeldOut = true, Prefix = "drawn:", Flip = true });
        Assert.Equal(3, data.Images.Count);
        var sample = Assert.Single(data.HeldOut).Settled();
        Assert.Equal(("drawn: a tree", false), (sample.Caption, sample.Placement.Flip));
        Assert.Equal(["FOLDER: 0 pictures, 0 captions, 0 skipped, 1 held out"], data.Report.Sets[1].Lines().Select(other.Hide));
        Assert.NotEqual(Read(0, folder.Options).Fingerprint(), data.Fingerprint());
    }

    [Fact]
    public void Prior_pictures_are_never_held_out()
    {
        using var folder = Many(10);
        using var priors = new DataFolder();
        for (var i = 0; i < 10; i++) Add(priors, i + 100);
        var data = Read(0.5, folder.Options, priors.Options with { Prior = true });
        Assert.All(data.HeldOut, image => Assert.False(image.Options.Prior));
        Assert.Equal(data.Images.Count(image => !image.Options.Prior), data.Images.Where(image => image.Options.Prior).Sum(image => image.Repeats));
    }

    [Fact]
    public void The_settled_caption_takes_the_first_of_what_is_drawn_and_drops_nothing()
    {
        var rules = new CaptionRules { Prefix = "tango,", DropoutRate = 1, ShuffleTags = true, TagDropoutRate = 1, Replacements = [new CaptionReplacement("cat", "") { OneOf = ["<s1>", "<s2>"] }] };
        Assert.Equal("tango, a, b, cat c".Replace("cat", "<s1>", StringComparison.Ordinal), Captions.Settled("a, b, cat c", rules));
    }

    [Fact]
    public void A_share_that_holds_out_nothing_says_which_one_would()
    {
        using var folder = new DataFolder().Picture("a.png", caption: "a", seed: 1).Picture("b.png", caption: "b", seed: 2);
        var smallest = Math.Min(HeldOutPictures.PlaceOf("a"), HeldOutPictures.PlaceOf("b"));
        var enough = (Math.Floor(smallest * 100) + 1) / 100;
        Assert.Equal(string.Create(CultureInfo.InvariantCulture, $"""
            validation.share: 0.001 holds out none of the 2 pictures, whose names decide
              try         {enough} or more, or a folder of its own: [[data]] with held_out = true
            """).ReplaceLineEndings("\n"), Problem(0.001, folder.Options));
        Assert.Single(Read(enough, folder.Options).HeldOut);
    }

    [Fact]
    public void A_share_that_leaves_nothing_to_train_on_is_refused()
    {
        using var folder = new DataFolder().Picture("a.png", caption: "a", seed: 1).Picture("b.png", caption: "b", seed: 2);
        Assert.Equal("""
            validation.share: 0.9999 holds out all 2 pictures and leaves none to train on
              try         less, or more pictures
            """.ReplaceLineEndings("\n"), Problem(0.9999, folder.Options));
    }

    [Fact]
    public void Pictures_that_are_held_out_and_trained_on_are_refused_and_named()
    {
        using var folder = new DataFolder().Picture("a.png", caption: "a", seed: 1).Picture("b.png", caption: "b", seed: 2);
        using var other = new DataFolder().Picture("x.png", caption: "a", seed: 1).Picture("y.png", caption: "b", seed: 3);
        Assert.Equal("""
            1 of 2 held-out pictures are trained on too, so that their loss would say nothing of new pictures
              HELD/x.png is also FOLDER/a.png
              try         to take them out of one of the folders, or validation.share in place of held_out
            """.ReplaceLineEndings("\n"), folder.Hide(Problem(0, folder.Options, other.Options with { HeldOut = true })).Replace(other.FullName, "HELD", StringComparison.Ordinal).Replace('\\', '/'));
    }

    [Fact]
    public void An_empty_held_out_folder_is_refused_like_any_other()
    {
        using var folder = Many(3);
        using var empty = new DataFolder();
        Assert.Equal("""
            no pictures in FOLDER
              looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down
              try         another folder, or put pictures into this one
            """.ReplaceLineEndings("\n"), empty.Hide(Problem(0, folder.Options, empty.Options with { HeldOut = true })));
    }

    private static DataFolder Many(int count)
    {
        var folder = new DataFolder();
        for (var i = 0; i < count; i++) Add(folder, i);
        return folder;
    }

    private static void Add(DataFolder folder, int number) => folder.Picture(string.Create(CultureInfo.InvariantCulture, $"picture {number}.png"), caption: "a box", seed: number);

    private static TrainingData Read(double share, params DataSetOptions[] sets) => TrainingData.Read(sets, 64, share, TestContext.Current.CancellationToken);

    private static string Problem(double share, params DataSetOptions[] sets) => Assert.Throws<DatasetException>(() => Read(share, sets)).Message;

    private static IEnumerable<string> Names(IEnumerable<TrainingImage> images) => images.Select(image => image.Name.Split('/')[^1]);
}
