using CsCheck;
using LowRank.Images;

namespace LowRank.Tests.Images;

public class ResizeCropTests
{
    [Fact]
    public void Without_resizing_the_cut_and_the_flip_are_exact()
    {
        var picture = Samples.Picture(30, 20);
        var cut = ResizeCrop.Load(ImageFile.EncodePng(picture), new Placement(picture.Size, Left: 5, Top: 3, new PixelSize(16, 8), Flip: true));
        for (var y = 0; y < 8; y++)
        {
            for (var x = 0; x < 16; x++)
            {
                var source = ((y + 3) * 30 + 5 + 15 - x) * 3;
                Assert.Equal(picture.Pixels.AsSpan(source, 3), cut.Pixels.AsSpan((y * 16 + x) * 3, 3));
            }
        }
    }

    [Theory]
    [InlineData(320, 240)]   // no shrinking while decoding
    [InlineData(160, 120)]   // by 2
    [InlineData(70, 53)]     // by 4
    [InlineData(40, 30)]     // by 8
    [InlineData(900, 600)]   // enlarged
    public void Shrinking_while_decoding_gives_nearly_the_picture_of_a_full_decode(int width, int height)
    {
        var content = Samples.Jpeg(Samples.Smooth(640, 480));
        var size = new PixelSize(width, height);
        var full = ResizeCrop.Resize(ImageFile.Decode(content), size);
        var loaded = ResizeCrop.Load(content, new Placement(size, 0, 0, size, Flip: false));
        Assert.True(full.Pixels.Zip(loaded.Pixels, (a, b) => Math.Abs(a - b)).Max() <= 4);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    public void Turned_pictures_are_resized_and_cut_upright(int orientation)
    {
        var content = Samples.Jpeg(Samples.Smooth(200, 120), orientation);
        var upright = ImageFile.Decode(content);
        Assert.Equal(orientation >= 5 ? new PixelSize(120, 200) : new PixelSize(200, 120), upright.Size);
        var resized = orientation >= 5 ? new PixelSize(40, 67) : new PixelSize(67, 40);
        var expected = ResizeCrop.Resize(upright, resized);
        var loaded = ResizeCrop.Load(content, new Placement(resized, 0, 0, resized, Flip: false));
        Assert.True(expected.Pixels.Zip(loaded.Pixels, (a, b) => Math.Abs(a - b)).Max() <= 3);
    }

    [Fact]
    public void Enlarging_does_not_move_the_picture()
    {
        var ramp = new RgbImage(new PixelSize(32, 32), [.. Enumerable.Range(0, 32 * 32 * 3).Select(i => (byte)(i / 3 % 32 * 8))]);
        var large = ResizeCrop.Resize(ramp, new PixelSize(64, 64));
        for (var x = 8; x < 56; x++) Assert.Equal((x + 0.5) / 2 * 8 - 4, large.Pixels[(32 * 64 + x) * 3], 1.0);
    }

    [Fact]
    public void One_side_may_grow_while_the_other_shrinks()
    {
        var picture = Samples.Picture(40, 40);
        var expected = PillowResize.Resize(picture.Pixels, picture.Size, 3, new PixelSize(20, 60), PillowFilter.Bicubic);
        var have = ResizeCrop.Resize(picture, new PixelSize(20, 60)).Pixels;
        Assert.True(expected.Zip(have, (a, b) => (double)Math.Abs(a - b)).Average() < 4);
    }

    [Fact]
    public void Drawings_are_drawn_at_the_size_wanted()
    {
        var drawing = "<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'><rect width='5' height='10' fill='#000'/></svg>"u8.ToArray();
        var size = new PixelSize(100, 100);
        var picture = ResizeCrop.Load(drawing, new Placement(size, 0, 0, size, Flip: false));
        Assert.Equal(0, picture.Pixels[(50 * 100 + 49) * 3]);     // a hard edge, where enlarged pixels would be soft
        Assert.Equal(255, picture.Pixels[(50 * 100 + 50) * 3]);
    }

    [Fact]
    public void Any_size_comes_out_exactly() =>
        Gen.Select(Gen.Int[1, 90], Gen.Int[1, 90], Gen.Int[1, 90], Gen.Int[1, 90]).Sample((fromWidth, fromHeight, width, height) =>
        {
            var size = new PixelSize(width, height);
            var resized = ResizeCrop.Resize(Samples.Picture(fromWidth, fromHeight), size);
            Assert.Equal(size, resized.Size);
            Assert.Equal(size.Pixels * 3, resized.Pixels.Length);
        }, iter: 200, threads: 1);
}
