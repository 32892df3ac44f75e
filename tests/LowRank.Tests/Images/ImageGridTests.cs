using LowRank.Images;

namespace LowRank.Tests.Images;

public class ImageGridTests
{
    [Fact]
    public void Pictures_stand_in_rows_and_columns_on_white()
    {
        var (first, second, third) = (Samples.Picture(16, 12, 1), Samples.Picture(16, 12, 2), Samples.Picture(16, 12, 3));
        var sheet = ImageGrid.Sheet([[first, second], [third]], [], [], zoom: 2);
        Assert.Equal(new PixelSize(8 + 2 * 40, 8 + 2 * 32), sheet.Size);
        AssertDrawn(sheet, first, 8, 8);
        AssertDrawn(sheet, second, 48, 8);
        AssertDrawn(sheet, third, 8, 40);
        Assert.Equal([255, 255, 255], sheet.Pixels[^3..]);
        Assert.Equal([255, 255, 255], sheet.Pixels.AsSpan((50 * sheet.Size.Width + 60) * 3, 3).ToArray());   // the place that no picture fills
    }

    [Fact]
    public void Words_stand_beside_the_pictures_and_leave_them_alone()
    {
        var picture = Samples.Picture(64, 64);
        var sheet = ImageGrid.Sheet([[picture, picture]], ["base <model> & co.", ""], ["a red apple, größe 猫"]);
        var left = sheet.Size.Width - 2 * 72;
        var top = sheet.Size.Height - 72;
        AssertDrawn(sheet, picture, left, top, zoom: 1);
        AssertDrawn(sheet, picture, left + 72, top, zoom: 1);
        var fonts = left > 8;   // without fonts the sheet has no words
        var ink = sheet.Pixels.AsSpan(0, top * sheet.Size.Width * 3).IndexOfAnyExcept((byte)255) >= 0;
        Assert.Equal(fonts, ink);
    }

    [Fact]
    public void Labels_that_do_not_fit_the_sheet_are_refused()
    {
        var picture = Samples.Picture(8, 8);
        Assert.Equal("1 labels for 2 (Parameter 'columnLabels')", Assert.Throws<ArgumentException>(() => ImageGrid.Sheet([[picture, picture]], ["a"], [])).Message);
    }

    private static void AssertDrawn(RgbImage sheet, RgbImage picture, int left, int top, int zoom = 2)
    {
        for (var y = 0; y < picture.Size.Height * zoom; y++)
        {
            for (var x = 0; x < picture.Size.Width * zoom; x++)
            {
                var expected = picture.Pixels.AsSpan((y / zoom * picture.Size.Width + x / zoom) * 3, 3);
                Assert.Equal(expected, sheet.Pixels.AsSpan(((top + y) * sheet.Size.Width + left + x) * 3, 3));
            }
        }
    }
}
