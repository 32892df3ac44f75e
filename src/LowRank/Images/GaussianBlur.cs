namespace LowRank.Images;

/// <summary>
/// Pillow's GaussianBlur, to the bit: three box blurs along each axis, 8 bit between the passes, edge pixels repeated. It is no true Gaussian,
/// and other tools' blurs differ. Source: Gwosdek et al. 2011, "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering"; Pillow, src/libImaging/BoxBlur.c.
/// </summary>
internal static class GaussianBlur
{
    private const int Passes = 3;
    private const int WeightBits = 24;

    /// <summary>Blurs a mask.</summary>
    /// <param name="mask">Any size.</param>
    /// <param name="radius">Standard deviation in pixels, 0 or more; 0 changes nothing.</param>
    public static GreyImage Apply(GreyImage mask, float radius)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(radius);
        if (radius == 0) return mask;
        var box = (float)BoxRadius(radius);
        var pixels = Along(mask.Pixels, mask.Size.Width, mask.Size.Height, box);
        pixels = Transposed(pixels, mask.Size.Width, mask.Size.Height);
        pixels = Along(pixels, mask.Size.Height, mask.Size.Width, box);
        return mask with { Pixels = Transposed(pixels, mask.Size.Height, mask.Size.Width) };
    }

    /// <summary>Radius of the box whose three passes spread as far as the Gaussian: whole pixels, and the share of one more at each end.</summary>
    private static double BoxRadius(double radius)
    {
        var variance = radius * radius / Passes;
        var whole = Math.Floor((Math.Sqrt(12 * variance + 1) - 1) / 2);
        return whole + (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) * (whole + 1)));
    }

    private static byte[] Along(byte[] pixels, int width, int height, float radius)
    {
        var edge = (int)radius;
        var inner = (long)((1 << WeightBits) / (radius * 2 + 1));
        var outer = ((1 << WeightBits) - (edge * 2 + 1) * inner) / 2;
        for (var pass = 0; pass < Passes; pass++)
        {
            var result = new byte[pixels.Length];
            for (var y = 0; y < height; y++) Row(pixels.AsSpan(y * width, width), result.AsSpan(y * width, width), edge, inner, outer);
            pixels = result;
        }
        return pixels;
    }

    /// <summary>A running sum of the window's whole pixels, and the two partial ones.</summary>
    private static void Row(ReadOnlySpan<byte> row, Span<byte> result, int edge, long inner, long outer)
    {
        var last = row.Length - 1;
        var sum = 0L;
        for (var x = -edge; x <= edge; x++) sum += row[Math.Clamp(x, 0, last)];
        for (var x = 0; x <= last; x++)
        {
            int before = row[Math.Clamp(x - edge - 1, 0, last)], after = row[Math.Clamp(x + edge + 1, 0, last)];
            result[x] = (byte)((sum * inner + (before + after) * outer + (1 << (WeightBits - 1))) >> WeightBits);
            sum += after - row[Math.Clamp(x - edge, 0, last)];
        }
    }

    private static byte[] Transposed(byte[] pixels, int width, int height)
    {
        var result = new byte[pixels.Length];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++) result[x * height + y] = pixels[y * width + x];
        }
        return result;
    }
}
