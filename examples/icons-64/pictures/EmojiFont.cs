using NetVips;

namespace LowRank.Examples.Icons;

/// <summary>The pictures inside the font Noto Color Emoji, by the text engine of libvips: the bitmap itself comes out, 136 × 128 with alpha.</summary>
/// <param name="file">NotoColorEmoji.ttf.</param>
internal sealed class EmojiFont(string file)
{
    /// <summary>Size of every bitmap in the font.</summary>
    public const int Width = 136, Height = 128;

    /// <summary>Side of the square that a bitmap is laid on.</summary>
    public const int Canvas = 144;

    /// <summary>One bitmap: 128 rows of 136 pixels of red, green, blue and alpha.</summary>
    /// <exception cref="IconDataException">Something else than a bitmap of the font came out.</exception>
    public byte[] Bitmap(string sequence, string name)
    {
        // 109 points at 72 dpi is the size of the font's one set of bitmaps; at any other size they would be scaled
        using var drawn = Image.Text(sequence, font: "Noto Color Emoji 109", fontfile: file, rgba: true);
        if (drawn.Width == Width && drawn.Height == Height && drawn.Bands == 4) return drawn.WriteToMemory<byte>();
        throw new IconDataException(
            $"\"{name}\" came out as {drawn.Width}x{drawn.Height} with {drawn.Bands} channels, not as a bitmap of {Width}x{Height} with 4: {file}\n" +
            "  the text engine took another font, or this version of the font lacks the emoji; use the version that this program asks for");
    }

    /// <summary>One emoji in the middle of a white square: 144 × 144 pixels of red, green and blue.</summary>
    public byte[] OnWhite(Emoji emoji)
    {
        const int left = (Canvas - Width) / 2, top = (Canvas - Height) / 2;
        var bitmap = Bitmap(emoji.Sequence, emoji.Name);
        var canvas = new byte[Canvas * Canvas * 3];
        Array.Fill(canvas, (byte)255);
        for (var y = 0; y < Height; y++)
        {
            for (var x = 0; x < Width; x++)
            {
                var from = (y * Width + x) * 4;
                var to = ((y + top) * Canvas + x + left) * 3;
                for (var channel = 0; channel < 3; channel++) canvas[to + channel] = OverWhite(bitmap[from + channel], bitmap[from + 3]);
            }
        }
        return canvas;
    }

    /// <summary>A colour with alpha over white, rounded.</summary>
    public static byte OverWhite(int colour, int alpha) => (byte)((colour * alpha + 255 * (255 - alpha) + 127) / 255);
}
