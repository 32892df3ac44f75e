namespace LowRank.Images;

/// <summary>Filters of <see cref="PillowResize"/>.</summary>
internal enum PillowFilter
{
    /// <summary>Nearest averages of whole pixels.</summary>
    Box,

    /// <summary>Triangle of radius 1.</summary>
    Bilinear,

    /// <summary>Hamming-windowed sinc of radius 1.</summary>
    Hamming,

    /// <summary>Cubic convolution with a = -0.5.</summary>
    Bicubic,

    /// <summary>Lanczos-windowed sinc of radius 3.</summary>
    Lanczos,

    /// <summary>Exact pixel areas, as OpenCV's INTER_AREA when both sides shrink; the only one that is not Pillow's.</summary>
    Area,
}

/// <summary>
/// Resizing with the same bits as Pillow 13, for whatever must reproduce what other tools computed (network inputs, hashes, golden cases).
/// Training pictures take <see cref="ResizeCrop"/>, which is faster.
/// Two passes of antialiased taps; 8-bit pictures are rounded and clipped between them, so the order of the passes is part of the result.
/// Source of the rules: Pillow, src/libImaging/Resample.c (order of passes, 2^-22 weights, premultiplied alpha); OpenCV for areas.
/// </summary>
internal static class PillowResize
{
    private const int WeightBits = 22;

    /// <summary>Resizes 8-bit pixels; four channels are taken as RGB with alpha, which Pillow premultiplies.</summary>
    /// <param name="pixels">height × width × channels bytes.</param>
    /// <param name="from">Size of <paramref name="pixels"/>.</param>
    /// <param name="channels">1, 3 or 4.</param>
    /// <param name="to">Wanted size.</param>
    /// <param name="filter">Which taps.</param>
    /// <returns>to.Height × to.Width × channels bytes.</returns>
    public static byte[] Resize(byte[] pixels, PixelSize from, int channels, PixelSize to, PillowFilter filter)
    {
        if (filter == PillowFilter.Area) return ResizeByArea(pixels, from, channels, to);
        if (channels != 4) return TwoPasses(pixels, from, to, (values, size, target) => Across(values, size, channels, target, filter), (values, size, target) => Down(values, size, channels, target, filter));
        var resized = TwoPasses(Premultiply(pixels), from, to, (values, size, target) => Across(values, size, 4, target, filter), (values, size, target) => Down(values, size, 4, target, filter));
        Unpremultiply(resized);
        return resized;
    }

    /// <summary>Resizes one plane of floats: height × width. Sums are float64, the plane between the passes is float32.</summary>
    public static float[] Resize(float[] plane, PixelSize from, PixelSize to, PillowFilter filter)
    {
        if (filter == PillowFilter.Area) throw new ArgumentException("areas are defined for 8 bit only", nameof(filter));
        return TwoPasses(plane, from, to, (values, size, target) => Across(values, size, target, filter), (values, size, target) => Down(values, size, target, filter));
    }

    private delegate T[] Pass<T>(T[] values, PixelSize size, int target);

    /// <summary>The vertical pass first where that is less work (Pillow 13), a pass only where its side changes.</summary>
    private static T[] TwoPasses<T>(T[] values, PixelSize from, PixelSize to, Pass<T> across, Pass<T> down)
    {
        var downFirst = to.Height < from.Height && 2 * (from.Width - to.Width) < from.Height - to.Height;
        if (downFirst && to.Height != from.Height) values = down(values, from, to.Height);
        var height = downFirst ? to.Height : from.Height;
        if (to.Width != from.Width) values = across(values, new PixelSize(from.Width, height), to.Width);
        if (!downFirst && to.Height != from.Height) values = down(values, new PixelSize(to.Width, from.Height), to.Height);
        return values;
    }

    private static byte[] Across(byte[] pixels, PixelSize size, int channels, int width, PillowFilter filter)
    {
        var result = new byte[(long)width * size.Height * channels];
        var taps = Taps(size.Width, width, filter);
        for (var y = 0; y < size.Height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var (first, _, weights) = taps[x];
                for (var channel = 0; channel < channels; channel++)
                {
                    var at = (y * size.Width + first) * channels + channel;
                    var sum = 1 << (WeightBits - 1);
                    foreach (var weight in weights)
                    {
                        sum += pixels[at] * weight;
                        at += channels;
                    }
                    result[(y * width + x) * channels + channel] = Clip(sum >> WeightBits);
                }
            }
        }
        return result;
    }

    private static byte[] Down(byte[] pixels, PixelSize size, int channels, int height, PillowFilter filter)
    {
        var stride = size.Width * channels;
        var result = new byte[(long)height * stride];
        var taps = Taps(size.Height, height, filter);
        for (var y = 0; y < height; y++)
        {
            var (first, _, weights) = taps[y];
            for (var x = 0; x < stride; x++)
            {
                var at = first * stride + x;
                var sum = 1 << (WeightBits - 1);
                foreach (var weight in weights)
                {
                    sum += pixels[at] * weight;
                    at += stride;
                }
                result[y * stride + x] = Clip(sum >> WeightBits);
            }
        }
        return result;
    }

    private static float[] Across(float[] plane, PixelSize size, int width, PillowFilter filter)
    {
        var result = new float[(long)width * size.Height];
        var taps = Taps(size.Width, width, filter);
        for (var y = 0; y < size.Height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var (first, weights, _) = taps[x];
                var sum = 0.0;
                for (var i = 0; i < weights.Length; i++) sum += plane[y * size.Width + first + i] * weights[i];
                result[y * width + x] = (float)sum;
            }
        }
        return result;
    }

    private static float[] Down(float[] plane, PixelSize size, int height, PillowFilter filter)
    {
        var result = new float[(long)height * size.Width];
        var taps = Taps(size.Height, height, filter);
        for (var y = 0; y < height; y++)
        {
            var (first, weights, _) = taps[y];
            for (var x = 0; x < size.Width; x++)
            {
                var sum = 0.0;
                for (var i = 0; i < weights.Length; i++) sum += plane[(first + i) * size.Width + x] * weights[i];
                result[y * size.Width + x] = (float)sum;
            }
        }
        return result;
    }

    /// <summary>For every output position: the first input, the weights, and the weights in units of 2^-22, rounded half away from zero.</summary>
    private static (int First, double[] Weights, int[] Units)[] Taps(int inputs, int outputs, PillowFilter filter)
    {
        var scale = (double)inputs / outputs;
        var stretch = Math.Max(scale, 1);   // antialiasing: the filter grows with the factor when shrinking
        var support = Radius(filter) * stretch;
        var taps = new (int, double[], int[])[outputs];
        for (var output = 0; output < outputs; output++)
        {
            var centre = (output + 0.5) * scale;
            var first = Math.Max((int)(centre - support + 0.5), 0);
            var end = Math.Min((int)(centre + support + 0.5), inputs);
            var weights = new double[end - first];
            for (var i = 0; i < weights.Length; i++) weights[i] = Weight(filter, (i + first - centre + 0.5) * (1 / stretch));
            var total = weights.Sum();
            if (total != 0)
            {
                for (var i = 0; i < weights.Length; i++) weights[i] /= total;
            }
            taps[output] = (first, weights, Array.ConvertAll(weights, weight => (int)(weight * (1 << WeightBits) + (weight < 0 ? -0.5 : 0.5))));
        }
        return taps;
    }

    private static double Radius(PillowFilter filter) => filter switch
    {
        PillowFilter.Box => 0.5,
        PillowFilter.Bilinear or PillowFilter.Hamming => 1,
        PillowFilter.Bicubic => 2,
        PillowFilter.Lanczos => 3,
        _ => throw new ArgumentOutOfRangeException(nameof(filter)),
    };

    private static double Weight(PillowFilter filter, double x)
    {
        var a = Math.Abs(x);
        return filter switch
        {
            PillowFilter.Box => x is > -0.5 and <= 0.5 ? 1 : 0,
            PillowFilter.Bilinear => Math.Max(0, 1 - a),
            PillowFilter.Hamming => a >= 1 ? 0 : Sinc(a) * (0.54 + 0.46 * Math.Cos(a * Math.PI)),
            PillowFilter.Bicubic => a < 1 ? (1.5 * a - 2.5) * a * a + 1 : a < 2 ? (((a - 5) * a + 8) * a - 4) * -0.5 : 0,
            PillowFilter.Lanczos => a < 3 ? Sinc(x) * Sinc(x / 3) : 0,
            _ => throw new ArgumentOutOfRangeException(nameof(filter)),
        };
    }

    private static double Sinc(double x) => x == 0 ? 1 : Math.Sin(x * Math.PI) / (x * Math.PI);

    private static byte Clip(int value) => (byte)Math.Clamp(value, 0, 255);

    private static byte[] Premultiply(byte[] rgba)
    {
        var result = (byte[])rgba.Clone();
        for (var i = 0; i < result.Length; i++)
        {
            if (i % 4 == 3) continue;
            var product = rgba[i] * rgba[i | 3] + 128;
            result[i] = (byte)((product + (product >> 8)) >> 8);
        }
        return result;
    }

    private static void Unpremultiply(byte[] rgba)
    {
        for (var i = 0; i < rgba.Length; i++)
        {
            var alpha = rgba[i | 3];
            if (i % 4 != 3 && alpha is not 0 and not 255) rgba[i] = (byte)Math.Min(255 * rgba[i] / alpha, 255);
        }
    }

    private static byte[] ResizeByArea(byte[] pixels, PixelSize from, int channels, PixelSize to)
    {
        if (to.Width > from.Width || to.Height > from.Height) throw new ArgumentException($"areas only shrink: {from} to {to}", nameof(to));
        var columns = Areas(from.Width, to.Width);
        var rows = Areas(from.Height, to.Height);
        var halved = from.Width == 2 * to.Width && from.Height == 2 * to.Height;   // OpenCV has integer code for this: halves go up
        var result = new byte[to.Pixels * channels];
        for (var at = 0; at < result.Length; at++)
        {
            var (channel, x, y) = (at % channels, at / channels % to.Width, at / channels / to.Width);
            var sum = 0.0;
            for (var i = 0; i < rows[y].Weights.Length; i++)
            {
                for (var j = 0; j < columns[x].Weights.Length; j++)
                {
                    sum += pixels[((rows[y].First + i) * from.Width + columns[x].First + j) * channels + channel] * rows[y].Weights[i] * columns[x].Weights[j];
                }
            }
            result[at] = (byte)Math.Round(sum, halved ? MidpointRounding.AwayFromZero : MidpointRounding.ToEven);
        }
        return result;
    }

    private static (int First, double[] Weights)[] Areas(int inputs, int outputs)
    {
        var scale = (double)inputs / outputs;
        var areas = new (int, double[])[outputs];
        for (var output = 0; output < outputs; output++)
        {
            double start = output * scale, end = (output + 1) * scale;
            var first = (int)start;
            var weights = new double[Math.Min((int)Math.Ceiling(end), inputs) - first];
            for (var i = 0; i < weights.Length; i++) weights[i] = Math.Max(0, Math.Min(end, first + i + 1) - Math.Max(start, first + i)) / scale;
            areas[output] = (first, weights);
        }
        return areas;
    }
}
