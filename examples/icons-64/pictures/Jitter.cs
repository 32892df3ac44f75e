namespace LowRank.Examples.Icons;

/// <summary>The same emoji a little larger or smaller and a little off its place, and some mirrored: so that a base learns things and not pixels.</summary>
internal static class Jitter
{
    /// <summary>How many each emoji gets; the second and the fourth are mirrored where that does not change the meaning.</summary>
    public const int Variants = 4;

    private const double Smallest = 0.93, Largest = 1.03, Shift = 6;
    private const int Margin = 16;

    /// <summary>One variant.</summary>
    /// <param name="emoji">What is on the canvas; its code points decide size and place.</param>
    /// <param name="canvas">144 × 144 × 3 bytes.</param>
    /// <param name="variant">1 to <see cref="Variants"/>.</param>
    public static Picture Of(Emoji emoji, byte[] canvas, int variant)
    {
        double Draw(string what, double low, double high) => FixedDraws.Between($"{what} of {emoji.CodePoints}, variant {variant}", low, high);
        const int side = EmojiFont.Canvas + 2 * Margin;
        var part = EmojiFont.Canvas / Draw("size", Smallest, Largest);
        var left = (side - part) / 2 + Draw("shift across", -Shift, Shift);
        var top = (side - part) / 2 + Draw("shift down", -Shift, Shift);
        var picture = new Picture(Picture.IconSide, Lanczos.Shrink(Padded(canvas), side, left, top, part, Picture.IconSide));
        return variant % 2 == 0 && emoji.MayFlip ? picture.Mirrored() : picture;
    }

    /// <summary>White all around, so that a shifted part has something to take.</summary>
    private static byte[] Padded(byte[] canvas)
    {
        const int side = EmojiFont.Canvas + 2 * Margin;
        var padded = new byte[side * side * 3];
        Array.Fill(padded, (byte)255);
        for (var y = 0; y < EmojiFont.Canvas; y++)
        {
            canvas.AsSpan(y * EmojiFont.Canvas * 3, EmojiFont.Canvas * 3).CopyTo(padded.AsSpan(((y + Margin) * side + Margin) * 3));
        }
        return padded;
    }
}
