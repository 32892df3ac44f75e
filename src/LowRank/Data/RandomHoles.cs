using LowRank.Images;

namespace LowRank.Data;

/// <summary>
/// Draws the holes of an inpainting training: rectangles and ellipses that lie wholly inside the picture, or the whole picture.
/// The draws of one hole, in this order: whole or not; how many shapes; then of each shape its kind, width, height, column and row.
/// </summary>
/// <param name="options">Valid.</param>
/// <param name="draws">Draws; training takes the stream <c>inpainting</c>.</param>
internal sealed class RandomHoles(InpaintingOptions options, IDraws draws)
{
    private const byte Inside = 255;

    /// <summary>The holes of a batch as its masks.</summary>
    public Batch Holed(Batch batch)
    {
        var each = (int)batch.Size.Pixels;
        var masks = new byte[each * batch.Samples.Count];
        for (var i = 0; i < batch.Samples.Count; i++) Draw(batch.Size).CopyTo(masks, i * each);
        return batch with { Masks = masks };
    }

    /// <summary>One hole.</summary>
    /// <param name="size">Of the picture as it is trained on.</param>
    /// <returns>Height × width bytes, row by row: 255 in the hole, 0 outside.</returns>
    public byte[] Draw(PixelSize size)
    {
        var hole = new byte[size.Pixels];
        if (draws.Uniform() < options.FullHoles)
        {
            Array.Fill(hole, Inside);
            return hole;
        }
        var shapes = options.MinShapes + draws.Choice(options.MaxShapes - options.MinShapes + 1);
        for (var i = 0; i < shapes; i++) DrawShape(hole, size);
        return hole;
    }

    private void DrawShape(byte[] hole, PixelSize size)
    {
        var ellipse = draws.Uniform() < options.Ellipses;
        var (width, height) = (Side(size.Width), Side(size.Height));
        var (left, top) = (draws.Choice(size.Width - width + 1), draws.Choice(size.Height - height + 1));
        for (var row = 0; row < height; row++)
        {
            var inset = ellipse ? Inset(width, (2 * row + 1.0) / height - 1) : 0;
            hole.AsSpan((top + row) * size.Width + left + inset, width - 2 * inset).Fill(Inside);
        }
    }

    private int Side(int whole) => Math.Clamp((int)Math.Round(whole * (options.MinSize + (options.MaxSize - options.MinSize) * draws.Uniform())), 1, whole);

    /// <summary>Pixels that a row of an ellipse leaves free on either side.</summary>
    /// <param name="width">Of the ellipse.</param>
    /// <param name="height">Of the row's middle over that of the ellipse, -1 to 1.</param>
    private static int Inset(int width, double height) => (int)Math.Round(width / 2.0 * (1 - Math.Sqrt(1 - height * height)));
}
