using System.Buffers.Binary;
using LowRank.Images;

namespace LowRank.Tests.Images;

public class BitmapReaderTests
{
    private static readonly byte[] Palette = [0, 0, 0, 0, 30, 20, 10, 0, 60, 50, 40, 0, 90, 80, 70, 0];   // blue, green, red, unused

    /// <summary>A bitmap of a 40-byte header (or longer), palette or masks, then data.</summary>
    private static byte[] Bitmap(int width, int height, int bits, int compression, byte[] extra, byte[] data, int headerLength = 40, int paletteCount = 0)
    {
        var file = new byte[14 + headerLength + extra.Length + data.Length];
        "BM"u8.CopyTo(file);
        void Put(int at, int value) => BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(at), value);
        Put(2, file.Length);
        Put(10, 14 + headerLength + extra.Length);
        Put(14, headerLength);
        Put(18, width);
        Put(22, height);
        Put(26, 1 | bits << 16);
        Put(30, compression);
        Put(46, paletteCount);
        extra.CopyTo(file, 14 + headerLength);
        data.CopyTo(file, 14 + headerLength + extra.Length);
        return file;
    }

    private static byte[] Reds(byte[] file) => [.. ImageFile.Decode(file).Pixels.Where((_, i) => i % 3 == 0)];

    [Fact]
    public void Palettes_of_1_4_and_8_bit_are_read_from_the_bottom_up()
    {
        Assert.Equal([10, 0, 10, 0, 10, 10], Reds(Bitmap(3, 2, 1, 0, Palette[..8], [0b0110_0000, 0, 0, 0, 0b1010_0000, 0, 0, 0])));
        Assert.Equal([40, 70, 0, 0, 10, 40], Reds(Bitmap(3, 2, 4, 0, Palette, [0x01, 0x20, 0, 0, 0x23, 0x00, 0, 0], paletteCount: 4)));
        Assert.Equal([70, 0, 10, 40], Reds(Bitmap(2, 2, 8, 0, Palette, [1, 2, 0, 0, 3, 0, 0, 0], paletteCount: 4)));
        Assert.Equal([10, 20, 30], ImageFile.Decode(Bitmap(1, 1, 8, 0, Palette, [1, 0, 0, 0], paletteCount: 4)).Pixels);
    }

    [Fact]
    public void Run_lengths_literals_jumps_and_ends_are_read()
    {
        // row 0 (bottom): 1 1 1, then a row of literals 1 2 3 (padded), then a jump of one to the right and a pixel, end of picture
        byte[] runs = [3, 1, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 2, 1, 0, 1, 3, 0, 1];
        Assert.Equal([0, 70, 0, 10, 40, 70, 10, 10, 10], Reds(Bitmap(3, 3, 8, 1, Palette, runs, paletteCount: 4)));
        byte[] nibbles = [3, 0x12, 0, 0, 0, 3, 0x12, 0x30, 0, 1];
        Assert.Equal([10, 40, 70, 10, 40, 10], Reds(Bitmap(3, 2, 4, 2, Palette, nibbles, paletteCount: 4)));
    }

    [Fact]
    public void Pixels_of_16_and_32_bit_and_masks_are_read()
    {
        byte[] fifteen = [0x1F, 0x7C, 0xE0, 0x03];   // 0x7C1F: red and blue full; 0x03E0: green full
        Assert.Equal([255, 0, 255, 0, 255, 0], ImageFile.Decode(Bitmap(2, 1, 16, 0, [], fifteen)).Pixels);
        byte[] sixteenMasks = [0x00, 0xF8, 0, 0, 0xE0, 0x07, 0, 0, 0x1F, 0, 0, 0];
        Assert.Equal([255, 130, 0], ImageFile.Decode(Bitmap(1, 1, 16, 3, sixteenMasks, [0x00, 0xFC, 0, 0])).Pixels);   // red 31, green 32 of 63
        Assert.Equal([3, 2, 1], ImageFile.Decode(Bitmap(1, 1, 32, 0, [], [1, 2, 3, 0])).Pixels);   // the fourth byte is nothing
        var withAlpha = Bitmap(1, 1, 32, 3, [], [0, 0, 0, 51], headerLength: 108);
        new byte[] { 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255 }.CopyTo(withAlpha, 54);
        Assert.Equal([204, 204, 204], ImageFile.Decode(withAlpha).Pixels);   // a fifth black over white
    }

    [Fact]
    public void A_negative_height_means_top_down() =>
        Assert.Equal([10, 40, 70, 0], Reds(Bitmap(2, -2, 8, 0, Palette, [1, 2, 0, 0, 3, 0, 0, 0], paletteCount: 4)));

    [Fact]
    public void Damaged_bitmaps_are_errors()
    {
        var good = Bitmap(2, 2, 8, 0, Palette, [1, 2, 0, 0, 3, 0, 0, 0], paletteCount: 4);
        for (var length = 18; length < good.Length - 2; length++)   // the last two bytes are padding
        {
            Assert.Equal(ImageDefect.Truncated, Assert.Throws<ImageDefectException>(() => ImageFile.Decode(good[..length])).Defect);
        }
        void Corrupt(byte[] file, string message)
        {
            var error = Assert.Throws<ImageDefectException>(() => ImageFile.Decode(file));
            Assert.Equal((ImageDefect.Corrupt, message), (error.Defect, error.Message));
        }
        Corrupt(Bitmap(2, 1, 8, 0, Palette, [1, 4, 0, 0], paletteCount: 4), "a pixel has colour 4 of a palette of 4");
        Corrupt(Bitmap(2, 1, 8, 1, Palette, [3, 1, 0, 1], paletteCount: 4), "a run of pixels leaves the picture");
        Corrupt(Bitmap(0, 1, 8, 0, Palette, [], paletteCount: 4), "the header says 0×1");
        Corrupt(Bitmap(1, 1, 7, 0, Palette, []), "the header says 7 bits a pixel");
        Corrupt(Bitmap(1, 1, 24, 4, [], []), "compression 4 at 24 bits a pixel does not exist or is not for files");
        var huge = Assert.Throws<ImageDefectException>(() => ImageFile.Decode(Bitmap(60000, 60000, 24, 0, [], [])));
        Assert.Equal(ImageDefect.TooLarge, huge.Defect);
    }
}
