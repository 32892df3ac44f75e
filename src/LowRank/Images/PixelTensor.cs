using NetVips;

namespace LowRank.Images;

/// <summary>Single pictures as networks take them: planes of floats in [-1, 1]. Training batches stay bytes until they are tensors.</summary>
internal static class PixelTensor
{
    /// <summary>The planes of a picture: (3, height, width) float32, value / 127.5 - 1. libvips does the loops.</summary>
    public static float[] ToPlanes(RgbImage picture)
    {
        using var image = Image.NewFromMemory(picture.Pixels, picture.Size.Width, picture.Size.Height, 3, Enums.BandFormat.Uchar);
        var bands = image.Bandsplit();
        using var stacked = Image.Arrayjoin(bands, across: 1);   // (width, 3 height), one band: planes one below the other, still bytes
        using var floats = stacked.Linear([1 / 127.5], [-1.0]);
        var planes = floats.WriteToMemory<float>();
        foreach (var band in bands) band.Dispose();
        return planes;
    }

    /// <summary>A picture from planes.</summary>
    /// <param name="planes">(3, height, width), meant to be in [-1, 1]; what lies outside is clipped.</param>
    /// <param name="size">Height and width of the planes.</param>
    /// <returns>8-bit RGB: (value + 1) · 127.5 rounded, halves to even.</returns>
    public static RgbImage ToImage(ReadOnlySpan<float> planes, PixelSize size)
    {
        var area = (int)size.Pixels;
        if (planes.Length != 3 * area) throw new ArgumentException($"{planes.Length} values are not three planes of {size}", nameof(planes));
        var pixels = new byte[3 * area];
        for (var i = 0; i < area; i++)
        {
            for (var band = 0; band < 3; band++)
            {
                var unit = Math.Clamp(planes[band * area + i] / 2 + 0.5f, 0, 1);
                pixels[3 * i + band] = (byte)MathF.Round(unit * 255);
            }
        }
        return new RgbImage(size, pixels);
    }
}
