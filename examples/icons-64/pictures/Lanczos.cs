namespace LowRank.Examples.Icons;

/// <summary>
/// Any square part of a square picture, made smaller by Lanczos with three lobes: antialiased, first across and then down, 8 bit between the two,
/// as Pillow does it (its <c>resize</c> with a <c>box</c>; src/libImaging/Resample.c).
/// </summary>
internal static class Lanczos
{
    private const int Lobes = 3;

    /// <summary>Resamples a part of a picture.</summary>
    /// <param name="pixels">side × side × 3 bytes.</param>
    /// <param name="side">Of the picture.</param>
    /// <param name="left">Where the part begins, in pixels, fractions allowed.</param>
    /// <param name="top">As <paramref name="left"/>.</param>
    /// <param name="part">Side of the part, not below <paramref name="wanted"/>; the part lies inside the picture.</param>
    /// <param name="wanted">Side of the result.</param>
    /// <returns>wanted × wanted × 3 bytes.</returns>
    public static byte[] Shrink(byte[] pixels, int side, double left, double top, double part, int wanted)
    {
        var across = Turned(pixels, side, Taps(side, left, part, wanted));
        return Turned(across, side, Taps(side, top, part, wanted));
    }

    /// <summary>Resamples every row and writes the results as columns, so that the next call takes what were the columns.</summary>
    private static byte[] Turned(byte[] pixels, int width, (int First, double[] Weights)[] taps)
    {
        var rows = pixels.Length / 3 / width;
        var result = new byte[taps.Length * rows * 3];
        for (var row = 0; row < rows; row++)
        {
            for (var column = 0; column < taps.Length; column++)
            {
                var (first, weights) = taps[column];
                for (var channel = 0; channel < 3; channel++)
                {
                    var at = (row * width + first) * 3 + channel;
                    var sum = 0.5;
                    foreach (var weight in weights)
                    {
                        sum += pixels[at] * weight;
                        at += 3;
                    }
                    result[(column * rows + row) * 3 + channel] = (byte)Math.Clamp((int)Math.Floor(sum), 0, 255);
                }
            }
        }
        return result;
    }

    /// <summary>For every pixel of the result: where its taps begin, and their weights, which sum to 1.</summary>
    private static (int First, double[] Weights)[] Taps(int side, double start, double part, int wanted)
    {
        var scale = part / wanted;
        var reach = Lobes * scale;
        return [.. Enumerable.Range(0, wanted).Select(pixel =>
        {
            var centre = start + (pixel + 0.5) * scale;
            var first = Math.Max(0, (int)(centre - reach + 0.5));
            var end = Math.Min(side, (int)(centre + reach + 0.5));
            var weights = Enumerable.Range(first, end - first).Select(tap => Kernel((tap - centre + 0.5) / scale)).ToArray();
            var sum = weights.Sum();
            return (first, weights.Select(weight => weight / sum).ToArray());
        })];
    }

    private static double Kernel(double x) => x switch
    {
        0 => 1,
        > -Lobes and < Lobes => Math.Sin(Math.PI * x) * Math.Sin(Math.PI * x / Lobes) * Lobes / (Math.PI * Math.PI * x * x),
        _ => 0,
    };
}
