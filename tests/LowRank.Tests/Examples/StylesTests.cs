using LowRank.Examples.Icons;
using LowRank.Images;
using LowRank.Testing;

namespace LowRank.Tests.Examples;

/// <summary>The two filters that make styles from emoji, on pictures by formula, and the committed pictures that they made.</summary>
public class StylesTests
{
    [Fact]
    public void A_line_drawing_has_lines_where_colours_change_and_white_between()
    {
        var line = Styles.Line(Field(from: 36, to: 108));   // 16 to 48 of 64
        Assert.All(Enumerable.Range(0, 64 * 64), at => Assert.True(line.Pixels[at * 3] == line.Pixels[at * 3 + 1] && line.Pixels[at * 3] == line.Pixels[at * 3 + 2]));
        byte At(int x, int y) => line.Pixels[(y * 64 + x) * 3];
        Assert.Equal((255, 255), (At(32, 32), At(4, 4)));
        foreach (var edge in new[] { 16, 48 })
        {
            var row = Enumerable.Range(edge - 4, 8).Select(x => At(x, 32)).ToList();
            Assert.Equal(0, row.Min());
            Assert.InRange(row.Count(value => value < 128), 1, 3);
            Assert.Equal(row, Enumerable.Range(edge - 4, 8).Select(y => At(32, y)));
        }
    }

    [Fact]
    public void Equal_greys_of_two_colours_have_a_line_between_them()
    {
        var canvas = Field(from: 0, to: 144);
        for (var at = 0; at < 144 * 144; at++) (canvas[at * 3], canvas[at * 3 + 1], canvas[at * 3 + 2]) = at % 144 < 72 ? ((byte)200, (byte)100, (byte)100) : ((byte)100, (byte)151, (byte)100);
        Assert.True(Styles.Line(canvas).Pixels[(32 * 64 + 32) * 3] < 40);
    }

    [Fact]
    public void Pixel_art_is_cells_of_a_few_colours_with_an_outline_around()
    {
        var bitmap = new byte[136 * 128 * 4];
        // cells 4 to 7 of 16 across and down, of 9 pixels each, on the 144 canvas on which the bitmap begins at (4, 8)
        for (var y = 36; y < 72; y++) for (var x = 36; x < 72; x++) new byte[] { 229, 50, 60, 255 }.CopyTo(bitmap, ((y - 8) * 136 + x - 4) * 4);
        var art = Styles.Pixel(bitmap);
        string Cell(int x, int y) => Convert.ToHexString(art.Pixels, ((y * 4 + 2) * 64 + x * 4 + 2) * 3, 3);
        Assert.Equal(["FFFFFF", "1A1C2C", "E5383B", "E5383B", "E5383B", "E5383B", "1A1C2C", "FFFFFF"], Enumerable.Range(2, 8).Select(x => Cell(x, 5)));
        Assert.Equal(["FFFFFF", "1A1C2C", "E5383B", "E5383B", "E5383B", "E5383B", "1A1C2C", "FFFFFF"], Enumerable.Range(2, 8).Select(y => Cell(5, y)));
        Assert.Equal("FFFFFF", Cell(3, 3));   // not beside, only at a corner
    }

    [Theory]
    [InlineData("line")]
    [InlineData("pixel")]
    public void The_committed_pictures_are_what_the_filters_give(string style)
    {
        var folder = Path.Combine(Repository.Root, "examples", "adapters", style, "pictures");
        var sources = IconPackages.Find();
        var font = new EmojiFont(sources.Font);
        var all = Emoji.Read(File.ReadLines(sources.Names));
        var byCaption = all.ToDictionary(emoji => emoji.Caption);
        Assert.Equal(Styles.Subjects.Order(StringComparer.Ordinal), Directory.GetFiles(folder, "*.txt").Select(file => File.ReadAllText(file).Trim()).Order(StringComparer.Ordinal));
        Assert.DoesNotContain(Styles.Subjects, caption => HeldOut.Emoji(all).Contains(byCaption[caption].Index));
        foreach (var caption in Styles.Subjects)
        {
            var subject = byCaption[caption];
            var made = style == "line" ? Styles.Line(font.OnWhite(subject)) : Styles.Pixel(font.Bitmap(subject.Sequence, subject.Name));
            Assert.Equal(ImageFile.Read(Path.Combine(folder, caption.Replace(' ', '-') + ".png")).Pixels, made.Pixels);
        }
    }

    /// <summary>A black square on white, 144 × 144.</summary>
    private static byte[] Field(int from, int to) =>
        [.. Enumerable.Range(0, 144 * 144).SelectMany(at => at % 144 >= from && at % 144 < to && at / 144 >= from && at / 144 < to ? new byte[] { 0, 0, 0 } : [255, 255, 255])];
}
