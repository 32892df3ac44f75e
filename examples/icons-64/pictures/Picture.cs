using NetVips;

namespace LowRank.Examples.Icons;

/// <summary>A square picture.</summary>
/// <param name="Side">In pixels.</param>
/// <param name="Pixels">Side × side × 3 bytes: red, green, blue, row by row.</param>
internal sealed record Picture(int Side, byte[] Pixels)
{
    /// <summary>Side of every picture of the data.</summary>
    public const int IconSide = 64;

    /// <summary>Writes it as PNG.</summary>
    public void Write(string path) => Write(path, Pixels, Side, Side);

    /// <summary>Left and right exchanged.</summary>
    public Picture Mirrored()
    {
        var mirrored = new byte[Pixels.Length];
        for (var at = 0; at < Side * Side; at++) Pixels.AsSpan(at * 3, 3).CopyTo(mirrored.AsSpan((at - at % Side + Side - 1 - at % Side) * 3));
        return this with { Pixels = mirrored };
    }

    /// <summary>Writes pictures of one size as a sheet with two white pixels between them.</summary>
    /// <param name="path">A PNG.</param>
    /// <param name="rows">From top to bottom; null, and what a short row lacks, stays white.</param>
    public static void WriteSheet(string path, IReadOnlyList<IReadOnlyList<Picture?>> rows)
    {
        const int cell = IconSide + 2;
        var (width, height) = (rows.Max(row => row.Count) * cell + 2, rows.Count * cell + 2);
        var sheet = new byte[width * height * 3];
        Array.Fill(sheet, (byte)255);
        for (var row = 0; row < rows.Count; row++)
        {
            for (var column = 0; column < rows[row].Count; column++)
            {
                if (rows[row][column] is not { } picture) continue;
                for (var y = 0; y < IconSide; y++)
                {
                    picture.Pixels.AsSpan(y * IconSide * 3, IconSide * 3).CopyTo(sheet.AsSpan(((row * cell + 2 + y) * width + column * cell + 2) * 3));
                }
            }
        }
        Write(path, sheet, width, height);
    }

    private static void Write(string path, byte[] pixels, int width, int height)
    {
        using var raw = Image.NewFromMemory(pixels, width, height, 3, Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Enums.Interpretation.Srgb);
        image.Pngsave(path, keep: Enums.ForeignKeep.None);
    }
}
