using LowRank.Examples.Icons;
using LowRank.Images;

namespace LowRank.Tests.Examples;

/// <summary>How the base's pictures are resampled and painted, on pictures by formula.</summary>
public class IconPicturesTests
{
    [Fact]
    public void Shrinking_a_whole_picture_gives_pillows_bits()
    {
        const int side = 144;
        var pixels = Noise(side);
        var expected = PillowResize.Resize(pixels, new PixelSize(side, side), 3, new PixelSize(64, 64), PillowFilter.Lanczos);
        var actual = Lanczos.Shrink(pixels, side, 0, 0, side, 64);
        Assert.Equal(64 * 64 * 3, actual.Length);
        // weights are float64 here and 22 bits in Pillow, so an exact half may be rounded to the other side
        Assert.All(expected.Zip(actual), pair => Assert.InRange(pair.First - pair.Second, -1, 1));
        Assert.True(expected.Zip(actual).Count(pair => pair.First != pair.Second) < 20);
    }

    [Fact]
    public void A_part_is_where_it_was_asked_for()
    {
        const int side = 100;
        var ramp = new byte[side * side * 3];
        for (var at = 0; at < side * side; at++) (ramp[at * 3], ramp[at * 3 + 1], ramp[at * 3 + 2]) = ((byte)(2 * (at % side)), (byte)(2 * (at / side)), 7);
        var part = Lanczos.Shrink(ramp, side, left: 10.5, top: 20.25, part: 64, wanted: 32);
        // the middle of pixel (x, y) of the result lies at left + 2x + 1; a ramp keeps its value there, and pixel p of it has its middle at p + 0.5
        for (var y = 4; y < 28; y += 5)
        {
            for (var x = 4; x < 28; x += 5)
            {
                Assert.InRange(part[(y * 32 + x) * 3], 2 * (10.5 + 2 * x + 1 - 0.5) - 1, 2 * (10.5 + 2 * x + 1 - 0.5) + 1);
                Assert.InRange(part[(y * 32 + x) * 3 + 1], 2 * (20.25 + 2 * y + 1 - 0.5) - 1, 2 * (20.25 + 2 * y + 1 - 0.5) + 1);
                Assert.Equal(7, part[(y * 32 + x) * 3 + 2]);
            }
        }
    }

    [Fact]
    public void A_mirrored_picture_has_its_sides_exchanged()
    {
        var picture = new Picture(2, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        Assert.Equal([4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9], picture.Mirrored().Pixels);
    }

    [Fact]
    public void Jittered_pictures_are_moved_a_little_differ_and_repeat()
    {
        var canvas = Square(EmojiFont.Canvas, from: 40, to: 104, right: 90);
        var emoji = new Emoji(3, "x", "thing", "thing", "Objects", "tool");
        var variants = Enumerable.Range(1, Jitter.Variants).Select(variant => Jitter.Of(emoji, canvas, variant)).ToList();
        Assert.Equal(Jitter.Variants, variants.Select(picture => Convert.ToHexString(picture.Pixels)).Distinct().Count());
        Assert.Equal(variants[2].Pixels, Jitter.Of(emoji, canvas, 3).Pixels);
        foreach (var (picture, variant) in variants.Select((picture, at) => (picture, at + 1)))
        {
            var (left, width) = DarkColumns(picture);
            var (expectedLeft, expectedWidth) = (variant % 2 == 0 ? 64 - 40.0 : 40 * 64 / 144.0, 50 * 64 / 144.0);
            Assert.InRange(width, expectedWidth * 0.93 - 2, expectedWidth * 1.03 + 2);
            Assert.InRange(left, expectedLeft - 6, expectedLeft + 6);   // 6 of 144 pixels and the scale
        }
        var letter = emoji with { Subgroup = "alphanum" };
        Assert.Equal(Jitter.Of(emoji, canvas, 2).Mirrored().Pixels, Jitter.Of(letter, canvas, 2).Pixels);
    }

    [Fact]
    public void Colours_come_back_from_hue_saturation_and_value()
    {
        var colour = new byte[3];
        for (var number = 0; number < 1 << 24; number += 9973)
        {
            byte[] wanted = [(byte)(number >> 16), (byte)(number >> 8), (byte)number];
            Hsv.Read(wanted).Write(colour);
            Assert.Equal(wanted, colour);
        }
        Assert.Equal(new Hsv(120, 1, 1), Hsv.Read([0, 255, 0]));
        Assert.Equal((20, 20), (Hsv.Apart(350, 10), Hsv.Apart(10, 350)));
    }

    [Fact]
    public void Painting_changes_what_carries_the_colour_and_nothing_else()
    {
        var picture = new Picture(10, Pixels(100, at => at < 60 ? [200, 40, 40] : at < 80 ? [40, 40, 200] : [255, 255, 255]));   // red, some blue, white ground
        var pixels = Hsv.Of(picture);
        var paint = Recolouring.PaintOf(pixels)!;
        Assert.Equal((60, false), (paint.At.Count, paint.Grey));
        var green = Recolouring.Apply(picture, pixels, paint, Recolouring.Targets.Single(target => target.Word == "green"));
        Assert.Equal(picture.Pixels[180..], green.Pixels[180..]);
        var painted = Hsv.Read(green.Pixels.AsSpan(0, 3));
        Assert.InRange(painted.Hue, 111, 113);
        Assert.InRange(painted.Saturation, 0.61, 0.63);
        Assert.InRange(painted.Value, 0.79, 0.81);
    }

    [Fact]
    public void Grey_things_are_painted_by_their_brightness()
    {
        var picture = new Picture(10, Pixels(100, at => at < 50 ? [100, 100, 100] : at < 75 ? [220, 220, 220] : [255, 255, 255]));
        var pixels = Hsv.Of(picture);
        var paint = Recolouring.PaintOf(pixels)!;
        Assert.Equal((75, true), (paint.At.Count, paint.Grey));
        var red = Recolouring.Apply(picture, pixels, paint, Recolouring.Targets.Single(target => target.Word == "red"));
        var (dark, light) = (Hsv.Read(red.Pixels.AsSpan(0, 3)), Hsv.Read(red.Pixels.AsSpan(180, 3)));
        Assert.True(dark.Saturation > light.Saturation && dark.Value < light.Value, $"{dark} {light}");
        Assert.Equal([255, 255, 255], red.Pixels[^3..]);
    }

    [Fact]
    public void A_picture_of_many_colours_is_not_painted() =>
        Assert.Null(Recolouring.PaintOf(Hsv.Of(new Picture(10, Pixels(100, at => (at % 5) switch { 0 => [250, 0, 0], 1 => [0, 250, 0], 2 => [0, 0, 250], 3 => [250, 250, 0], _ => [0, 250, 250] })))));

    [Fact]
    public void White_paper_has_nothing_to_paint() => Assert.Null(Recolouring.PaintOf(Hsv.Of(new Picture(2, Pixels(4, _ => [255, 255, 255])))));

    private static byte[] Pixels(int count, Func<int, byte[]> colour) => [.. Enumerable.Range(0, count).SelectMany(colour)];

    private static byte[] Noise(int side)
    {
        var random = new Random(5);
        return [.. Enumerable.Range(0, side * side * 3).Select(_ => (byte)random.Next(256))];
    }

    /// <summary>A black field on white.</summary>
    private static byte[] Square(int side, int from, int to, int right) =>
        Pixels(side * side, at => at % side >= from && at % side < right && at / side >= from && at / side < to ? [0, 0, 0] : [255, 255, 255]);

    private static (int Left, int Width) DarkColumns(Picture picture)
    {
        var dark = Enumerable.Range(0, picture.Side).Where(column => picture.Pixels[(32 * picture.Side + column) * 3] < 128).ToList();
        return (dark[0], dark.Count);
    }
}
