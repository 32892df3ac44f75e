using NetVips;

namespace LowRank.Images;

/// <summary>
/// Sheets of pictures with words beside them: previews, before and after. Words are drawn by libvips with the system's sans font;
/// on a system without fonts (a bare container) the sheet has none, since only empty boxes would come out.
/// </summary>
internal static class ImageGrid
{
    private const int Gap = 8;
    private const int RowLabelWidth = 140;
    private const int LongestLabel = 160;

    /// <summary>Lays pictures out on white.</summary>
    /// <param name="rows">Rows of pictures, all of one size; short rows are filled up with white.</param>
    /// <param name="columnLabels">Words above the columns, one each; none when empty.</param>
    /// <param name="rowLabels">Words left of the rows, one each; none when empty.</param>
    /// <param name="zoom">Every pixel drawn this many times across and down, for small pictures; 1 or more.</param>
    public static RgbImage Sheet(IReadOnlyList<IReadOnlyList<RgbImage>> rows, IReadOnlyList<string> columnLabels, IReadOnlyList<string> rowLabels, int zoom = 1)
    {
        var columns = rows.Max(row => row.Count);
        var size = rows.SelectMany(row => row).Select(picture => picture.Size).Distinct().Single();
        Require(columnLabels, columns, nameof(columnLabels));
        Require(rowLabels, rows.Count, nameof(rowLabels));
        var cell = new PixelSize(size.Width * zoom, size.Height * zoom);
        using var parts = new Parts();
        var fonts = FontsAreInstalled(parts);
        var above = fonts ? columnLabels.Select(text => Words(parts, text, cell.Width)).ToList() : [];
        var beside = fonts ? rowLabels.Select(text => Words(parts, text, RowLabelWidth)).ToList() : [];
        var left = beside.Count == 0 ? Gap : RowLabelWidth + 2 * Gap;
        var top = above.Count == 0 ? Gap : above.Max(words => words?.Height ?? 0) + 2 * Gap;

        var sheetSize = new PixelSize(left + columns * (cell.Width + Gap), top + rows.Count * (cell.Height + Gap));
        using var black = Image.Black(sheetSize.Width, sheetSize.Height, bands: 3);
        using var white = black.Invert();
        using var sheet = white.Mutate(canvas =>
        {
            for (var row = 0; row < rows.Count; row++)
            {
                for (var column = 0; column < rows[row].Count; column++)
                {
                    canvas.DrawImage(Cell(parts, rows[row][column], zoom), left + column * (cell.Width + Gap), top + row * (cell.Height + Gap));
                }
            }
            for (var column = 0; column < above.Count; column++) DrawWords(canvas, above[column], left + column * (cell.Width + Gap), Gap);
            for (var row = 0; row < beside.Count; row++) DrawWords(canvas, beside[row], Gap, top + row * (cell.Height + Gap));
        });
        return new RgbImage(sheetSize, sheet.WriteToMemory<byte>());
    }

    /// <summary>A picture of the bottom row of a sheet.</summary>
    /// <param name="sheet">As <see cref="Sheet"/> made it, with or without words.</param>
    /// <param name="size">Of a picture in it, zoom included.</param>
    /// <param name="fromEnd">1 for the last of the row, 2 for the one before.</param>
    public static RgbImage CutFromEnd(RgbImage sheet, PixelSize size, int fromEnd)
    {
        var (left, top) = (sheet.Size.Width - fromEnd * (size.Width + Gap), sheet.Size.Height - size.Height - Gap);
        var pixels = new byte[3 * size.Pixels];
        for (var row = 0; row < size.Height; row++) sheet.Pixels.AsSpan(3 * ((top + row) * sheet.Size.Width + left), 3 * size.Width).CopyTo(pixels.AsSpan(3 * row * size.Width));
        return new RgbImage(size, pixels);
    }

    private static Image Cell(Parts parts, RgbImage picture, int zoom)
    {
        var image = parts.Keep(Image.NewFromMemory(picture.Pixels, picture.Size.Width, picture.Size.Height, 3, Enums.BandFormat.Uchar));
        return zoom == 1 ? image : parts.Keep(image.Zoom(zoom, zoom));
    }

    /// <summary>A mask of the words, wrapped to a width, or null where there is nothing to draw.</summary>
    private static Image? Words(Parts parts, string text, int width)
    {
        var shown = text.Length > LongestLabel ? text[..LongestLabel] + "…" : text;
        if (string.IsNullOrWhiteSpace(shown)) return null;
        var words = parts.Keep(Image.Text(System.Net.WebUtility.HtmlEncode(shown), font: "sans 11", width: width, dpi: 72, wrap: Enums.TextWrap.WordChar));
        return parts.Keep(words.CopyMemory());   // drawn row by row below, and rendered once
    }

    private static void DrawWords(MutableImage canvas, Image? mask, int left, int top)
    {
        if (mask is not null) canvas.DrawMask([0.0, 0, 0], mask, left, top);
    }

    /// <summary>Without fonts, every letter is the same empty box.</summary>
    private static bool FontsAreInstalled(Parts parts)
    {
        if (OperatingSystem.IsLinux() && !File.Exists("/etc/fonts/fonts.conf") && Environment.GetEnvironmentVariable("FONTCONFIG_FILE") is null) return false;
        var narrow = parts.Keep(Image.Text("i", font: "sans 11", dpi: 72));
        var wide = parts.Keep(Image.Text("W", font: "sans 11", dpi: 72));
        return narrow.Width != wide.Width;
    }

    private static void Require(IReadOnlyList<string> labels, int count, string name)
    {
        if (labels.Count != 0 && labels.Count != count) throw new ArgumentException($"{labels.Count} labels for {count}", name);
    }

    /// <summary>The native images of one sheet, which must live until it is drawn.</summary>
    private sealed class Parts : IDisposable
    {
        private readonly List<Image> images = [];

        public Image Keep(Image image)
        {
            images.Add(image);
            return image;
        }

        public void Dispose()
        {
            foreach (var image in images) image.Dispose();
        }
    }
}
