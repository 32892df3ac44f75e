using LowRank.Diffusion;
using LowRank.Examples.Icons;
using LowRank.Families;
using LowRank.Images;
using LowRank.Testing;

namespace LowRank.Tests.Examples;

/// <summary>The measures of a base: each rule by itself, and all of them on the embedded base with few pictures.</summary>
public class BaseMeasuresTests
{
    [Fact]
    public void Places_give_shares_and_a_median()
    {
        Assert.Equal(new Ranks(0.2, 0.6, 0.8, 5), Ranks.Of([1, 5, 30, 20, 5]));
        Assert.Equal(3.5, Ranks.Of([1, 2, 5, 9]).MedianRank);
    }

    [Fact]
    public void A_place_counts_what_is_strictly_nearer()
    {
        float[][] all = [[0, 0], [3, 0], [0, 3], [1, 1]];
        Assert.Equal(1, Ranks.Place([0.1f, 0.1f], all, 0));
        Assert.Equal(4, Ranks.Place([0, 0.5f], all, 1));
        Assert.Equal(3, Ranks.Place([0, 0], all, 2));   // as far as number 1, which so does not come before it
    }

    [Theory]
    [InlineData("red", 240, 20, 20, true)]
    [InlineData("red", 240, 20, 60, true)]        // 346 degrees: 16 from red, over the end of the circle
    [InlineData("red", 240, 200, 20, false)]      // 49 degrees
    [InlineData("blue", 40, 90, 240, true)]
    [InlineData("blue", 40, 240, 90, false)]
    [InlineData("black", 30, 30, 35, true)]
    [InlineData("black", 160, 160, 160, false)]   // gray
    [InlineData("black", 130, 10, 10, false)]     // dark, but red
    public void A_colour_is_judged_by_what_is_drawn(string colour, int red, int green, int blue, bool has) =>
        Assert.Equal(has, ColourCheck.Has(HalfDrawn([(byte)red, (byte)green, (byte)blue]), Recolouring.Targets.Single(target => target.Word == colour)));

    [Fact]
    public void White_paper_has_no_colour() => Assert.All(Recolouring.Targets, target => Assert.False(ColourCheck.Has(HalfDrawn([255, 250, 245]), target)));

    [Fact]
    public void Prompts_name_faces_where_the_emoji_are_faces() =>
        Assert.Equal(["blue apple", "purple banana", "red cat face", "green dog face", "pink elephant", "blue rose", "green car"], HeldOut.ColourPairs.Take(7).Select(ColourCheck.Prompt));

    [Theory]
    [InlineData(PredictionType.Epsilon)]
    [InlineData(PredictionType.VPrediction)]
    [InlineData(PredictionType.Sample)]
    public void The_error_of_the_clean_latents_follows_from_that_of_the_prediction(PredictionType type)
    {
        const double bar = 0.3, x = 0.7, noise = -1.1, off = 0.05;
        var (root, rest) = (Math.Sqrt(bar), Math.Sqrt(1 - bar));
        var z = root * x + rest * noise;
        var clean = type switch
        {
            PredictionType.Epsilon => (z - rest * (noise + off)) / root,
            PredictionType.VPrediction => root * z - rest * (root * noise - rest * x + off),
            _ => x + off,
        };
        Assert.Equal((clean - x) * (clean - x), BaseMeasures.CleanShare(type, bar) * off * off, 12);
    }

    [Fact]
    public void Small_pictures_are_means_of_blocks()
    {
        var pixels = new byte[64 * 64 * 3];
        for (var y = 4; y < 8; y++) for (var x = 8; x < 12; x++) pixels[(y * 64 + x) * 3 + 1] = (byte)(x % 2 == 0 ? 255 : 0);
        var small = BaseMeasures.Small(new RgbImage(new PixelSize(64, 64), pixels));
        Assert.Equal(16 * 16 * 3, small.Length);
        Assert.Equal(0.5, small[(1 * 16 + 2) * 3 + 1], 6);
        Assert.Equal(0.5, small.Sum(), 6);
    }

    [Fact]
    public void The_embedded_base_is_measured_and_the_numbers_repeat()
    {
        var icons = Directory.GetFiles(Path.Combine(Repository.Root, "examples", "tango", "pictures"), "*.png").Order(StringComparer.Ordinal)
            .Select(file => new Icon(Path.GetFileNameWithoutExtension(file), File.ReadAllText(Path.ChangeExtension(file, "txt")).Trim(), ImageFile.Read(file))).ToList();
        var set = new IconSet(icons, icons, [.. icons.Take(2)], [.. icons.Skip(2).Take(1)], [icons[3].Caption]);
        using var family = FamilyDetector.Open("icons-64");
        var measures = new BaseMeasures(family, set) { Pairs = [new ColourPair("red", "circle")] };
        var measured = measures.Run("icons-64");
        Assert.InRange(measured.PsnrTango, 20, 40);
        Assert.All(measured.LatentMeans, mean => Assert.InRange(mean, -1, 1));
        Assert.All(measured.LatentDeviations, deviation => Assert.InRange(deviation, 0.5, 1.5));
        Assert.Equal((4, 4), (measured.ColoursAsked, measured.Colours));
        Assert.Equal((1, 4), (measures.Drawn.Count, measures.DrawnColours.Count));
        Assert.Equal(new Dictionary<string, int> { ["red circle"] = 4 }, measured.ColoursByPrompt);
        Assert.Equal((2, 1), (measured.HeldOutEmoji.Pictures, measured.HeldOutColours.Pictures));
        Assert.InRange(measured.HeldOutEmoji.Loss, 0.05, 1);
        Assert.True(measured.HeldOutEmoji.PictureLossByTimestep[0] < measured.HeldOutEmoji.PictureLossByTimestep[^1]);

        var again = new BaseMeasures(family, set) { Pairs = [new ColourPair("red", "circle")] }.Run("icons-64");
        Assert.Equal(MeasuredTable.Lines(measured), MeasuredTable.Lines(again));
        Assert.Equal(measured.HeldOutColours.LossByTimestep, again.HeldOutColours.LossByTimestep);
    }

    [Fact]
    public void Numbers_are_told_as_a_table()
    {
        var errors = new HeldOutErrors(3, 0.25, 0.125, [50], [0.25], [0.125]);
        var measured = new MeasuredBase("runs/mine/", "a model", 28.5, 24.25, [0.0014, 0], [1, 0.99], new Ranks(0.31, 0.55, 0.77, 3), new Ranks(0.2, 0.48, 0.72, 6.5), 60, 64, new Dictionary<string, int>(), errors, errors with { Pictures = 5 });
        Assert.Equal(
            [
                "| measure | mine |",
                "| --- | --- |",
                "| autoencoder, emoji | 28.50 dB |",
                "| autoencoder, Tango icons | 24.25 dB |",
                "| latents, mean by channel | 0.001, 0.000 |",
                "| latents, deviation by channel | 1.000, 0.990 |",
                "| recall by pixels: first, first 5, first 20, median place | 31 %, 55 %, 77 %, 3 |",
                "| recall by latents | 20 %, 48 %, 72 %, 6.5 |",
                "| colours of unseen combinations | 60 of 64 |",
                "| loss on 3 held-out emoji, of the clean latents | 0.2500, 0.1250 |",
                "| loss on 5 held-out colourings, of the clean latents | 0.2500, 0.1250 |",
            ], MeasuredTable.Lines(measured));
    }

    [Fact]
    public void Data_that_are_not_prepared_or_not_whole_are_told_of()
    {
        using var folder = new TemporaryFolder();
        Assert.Equal(
            $"no prepared pictures: {folder.FullName}\n  make them first: dotnet run -c Release examples/icons-64/prepare.cs -- --output {folder.FullName}",
            Assert.Throws<IconDataException>(() => IconSet.Read(folder.FullName)).Message);
        foreach (var name in new[] { "plain/things", "held-out/emoji", "held-out/colours", "tango" })
        {
            new Picture(64, HalfDrawn([9, 9, 9]).Pixels).Write(folder.Path(name, "0001_a.png"));
            File.WriteAllText(folder.Path(name, "0001_a.txt"), "a thing\nanother phrasing\n");
        }
        File.WriteAllText(folder.Path("recalled.txt"), "a thing\n");
        Assert.Equal(["a thing"], IconSet.Read(folder.FullName).Recalled);
        File.WriteAllText(folder.Path("recalled.txt"), "a thing\nno thing\n");
        Assert.Equal(
            $"the prepared pictures are not whole: {folder.FullName}\n  none has the caption \"no thing\", which recalled.txt asks for; make them anew",
            Assert.Throws<IconDataException>(() => IconSet.Read(folder.FullName)).Message);
    }

    /// <summary>A colour above, white below.</summary>
    private static RgbImage HalfDrawn(byte[] colour) =>
        new(new PixelSize(64, 64), [.. Enumerable.Range(0, 64 * 64).SelectMany(at => at < 32 * 64 ? colour : [255, 255, 255])]);
}
