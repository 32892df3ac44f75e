namespace LowRank.Examples.Icons;

/// <summary>Two styles that filters make from emoji, for adapters to learn: line drawings and pixel art.</summary>
internal static class Styles
{
    /// <summary>What is drawn: plain things that a small base knows, none of them held out.</summary>
    public static readonly IReadOnlyList<string> Subjects =
    [
        "red heart", "cat face", "dog face", "frog", "elephant", "fish", "butterfly", "rose", "evergreen tree", "mushroom", "red apple", "banana",
        "strawberry", "hamburger", "birthday cake", "hot beverage", "house", "automobile", "bicycle", "airplane", "rocket", "umbrella", "star", "bell",
        "guitar", "light bulb", "key", "hammer", "scissors", "trophy", "crown", "camera",
    ];

    private const int Side = EmojiFont.Canvas;

    /// <summary>
    /// A line drawing: in each channel of the 144 × 144 picture, blurred by 3 × 3 binomial weights, the length of the gradient (Sobel); the largest of the three
    /// channels; each pixel takes the largest of the 3 × 3 around it, so that lines are three pixels and more wide; from 100 on it is a line, at 260 quite black; made smaller to 64 × 64.
    /// </summary>
    /// <param name="canvas">An emoji on white, 144 × 144 × 3 bytes.</param>
    public static Picture Line(byte[] canvas)
    {
        const double faint = 100, black = 260;
        var strength = new double[Side * Side];
        for (var channel = 0; channel < 3; channel++)
        {
            var plane = Blurred([.. Enumerable.Range(0, Side * Side).Select(at => (double)canvas[at * 3 + channel])]);
            for (var at = 0; at < strength.Length; at++) strength[at] = Math.Max(strength[at], Sobel(plane, at % Side, at / Side));
        }
        var lines = new byte[Side * Side * 3];
        for (var at = 0; at < strength.Length; at++)
        {
            var most = Around(strength, at % Side, at / Side).Max();
            Array.Fill(lines, (byte)Math.Round(255 * (1 - Math.Clamp((most - faint) / (black - faint), 0, 1))), at * 3, 3);
        }
        return new Picture(Picture.IconSide, Lanczos.Shrink(lines, Side, 0, 0, Side, Picture.IconSide));
    }

    /// <summary>
    /// Pixel art: 16 × 16 cells of 9 × 9 pixels. A cell is drawn where at least 40 of 100 parts of it are covered; its colour is the mean of what covers it, then the
    /// nearest of sixteen fixed colours; cells that are not drawn but lie beside a drawn one become black, which is the outline. Each cell is 4 × 4 pixels of the result.
    /// </summary>
    /// <param name="bitmap">The font's 136 × 128 pixels of red, green, blue and alpha.</param>
    public static Picture Pixel(byte[] bitmap)
    {
        var cells = new int?[Cells * Cells];
        for (var at = 0; at < cells.Length; at++) cells[at] = NearestColour(Mean(bitmap, at % Cells, at / Cells));
        var pixels = new byte[Picture.IconSide * Picture.IconSide * 3];
        Array.Fill(pixels, (byte)255);
        for (var at = 0; at < Picture.IconSide * Picture.IconSide; at++)
        {
            const int zoom = Picture.IconSide / Cells;
            var (x, y) = (at % Picture.IconSide / zoom, at / Picture.IconSide / zoom);
            if (cells[y * Cells + x] is null && !IsOutline(cells, x, y)) continue;
            var shown = Palette[cells[y * Cells + x] ?? 0];
            (pixels[at * 3], pixels[at * 3 + 1], pixels[at * 3 + 2]) = ((byte)(shown >> 16), (byte)(shown >> 8), (byte)shown);
        }
        return new Picture(Picture.IconSide, pixels);
    }

    private const int Cells = 16;

    /// <summary>Black first.</summary>
    private static readonly int[] Palette =
    [
        0x1A1C2C, 0xFFFFFF, 0x94A0B4, 0x566070, 0xE5383B, 0x8A1C2E, 0xFF8C1A, 0xFFCB2E,
        0x7CC043, 0x1F7A4A, 0x3EC1E8, 0x2F62D9, 0xFFD9B0, 0x8A46C8, 0xF58FB4, 0x8C5A36,
    ];

    /// <summary>The mean colour of what covers a cell; null where too little of it is covered.</summary>
    private static double[]? Mean(byte[] bitmap, int cellX, int cellY)
    {
        const int block = Side / Cells, left = (Side - EmojiFont.Width) / 2, top = (Side - EmojiFont.Height) / 2;
        var sums = new double[3];
        var covered = 0.0;
        for (var at = 0; at < block * block; at++)
        {
            var (x, y) = (cellX * block + at % block - left, cellY * block + at / block - top);
            if (x is < 0 or >= EmojiFont.Width || y is < 0 or >= EmojiFont.Height) continue;
            var from = (y * EmojiFont.Width + x) * 4;
            for (var channel = 0; channel < 3; channel++) sums[channel] += bitmap[from + channel] * bitmap[from + 3] / 255.0;
            covered += bitmap[from + 3] / 255.0;
        }
        return covered < 0.4 * block * block ? null : [.. sums.Select(sum => sum / covered)];
    }

    private static int? NearestColour(double[]? colour) => colour is null ? null : Enumerable.Range(0, Palette.Length).MinBy(place =>
        Enumerable.Range(0, 3).Sum(channel => Math.Pow(colour[channel] - (Palette[place] >> (16 - 8 * channel) & 255), 2)));

    private static bool IsOutline(int?[] cells, int x, int y) =>
        (x > 0 && cells[y * Cells + x - 1] is not null) || (x < Cells - 1 && cells[y * Cells + x + 1] is not null)
        || (y > 0 && cells[(y - 1) * Cells + x] is not null) || (y < Cells - 1 && cells[(y + 1) * Cells + x] is not null);

    private static double Sobel(double[] plane, int x, int y)
    {
        var near = Around(plane, x, y);
        var across = near[2] + 2 * near[5] + near[8] - near[0] - 2 * near[3] - near[6];
        var down = near[6] + 2 * near[7] + near[8] - near[0] - 2 * near[1] - near[2];
        return Math.Sqrt(across * across + down * down);
    }

    private static double[] Blurred(double[] plane)
    {
        double[] weights = [1, 2, 1, 2, 4, 2, 1, 2, 1];
        return [.. Enumerable.Range(0, plane.Length).Select(at => Around(plane, at % Side, at / Side).Zip(weights).Sum(pair => pair.First * pair.Second) / 16)];
    }

    /// <summary>The 3 × 3 values around a pixel, row by row; over the border the nearest inside.</summary>
    private static double[] Around(double[] plane, int x, int y) =>
        [.. Enumerable.Range(0, 9).Select(near => plane[Math.Clamp(y + near / 3 - 1, 0, Side - 1) * Side + Math.Clamp(x + near % 3 - 1, 0, Side - 1)])];
}
