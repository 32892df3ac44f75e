using LowRank.Images;

namespace LowRank.Examples.Icons;

/// <summary>Pictures with their captions above them, to look at.</summary>
internal static class CaptionSheet
{
    private const int Zoom = 2;

    /// <summary>Lays pictures out in rows, twice as large.</summary>
    /// <param name="pictures">All of one size.</param>
    /// <param name="captions">One each.</param>
    /// <param name="across">In a row.</param>
    public static RgbImage Of(IReadOnlyList<RgbImage> pictures, IReadOnlyList<string> captions, int across)
    {
        var rows = pictures.Zip(captions).Chunk(across).Select(row => ImageGrid.Sheet([[.. row.Select(one => one.First)]], [.. row.Select(one => one.Second)], [], Zoom)).ToList();
        var width = rows.Max(row => row.Size.Width);
        var pixels = new byte[width * rows.Sum(row => row.Size.Height) * 3];
        Array.Fill(pixels, (byte)255);
        var top = 0;
        foreach (var row in rows)
        {
            for (var y = 0; y < row.Size.Height; y++) row.Pixels.AsSpan(y * row.Size.Width * 3, row.Size.Width * 3).CopyTo(pixels.AsSpan((top + y) * width * 3));
            top += row.Size.Height;
        }
        return new RgbImage(new PixelSize(width, top), pixels);
    }
}
