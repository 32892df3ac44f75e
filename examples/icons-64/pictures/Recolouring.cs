namespace LowRank.Examples.Icons;

/// <summary>A colour that pictures are given.</summary>
/// <param name="Word">For captions.</param>
/// <param name="Hue">In degrees.</param>
/// <param name="Saturation">What the median of the painted pixels becomes, 0 to 1.</param>
/// <param name="Value">What the 80th percentile of their values is multiplied to; above 1 is lighter than the brightest.</param>
internal sealed record Target(string Word, double Hue, double Saturation, double Value);

/// <summary>
/// The same thing in another colour, which is what teaches a base that colour words and things go together freely: the names of emoji hardly name colours.
/// Shading and outlines stay: every pixel keeps its place between dark and light.
/// </summary>
internal static class Recolouring
{
    /// <summary>The ten colours.</summary>
    public static readonly IReadOnlyList<Target> Targets =
    [
        new("red", 2, 0.85, 0.92), new("orange", 28, 0.9, 1), new("yellow", 48, 0.85, 1.08), new("green", 112, 0.62, 0.8), new("blue", 212, 0.78, 0.95),
        new("purple", 275, 0.6, 0.82), new("pink", 332, 0.45, 1.1), new("brown", 24, 0.6, 0.6), new("gray", 0, 0, 0.85), new("black", 0, 0, 0.32),
    ];

    private static readonly string[] ColourWords = [.. Targets.Select(target => target.Word), "grey", "white"];

    /// <summary>Whether an emoji is painted at all: not people, flags, letters, keys and clocks, whose colours mean something.</summary>
    public static bool Suits(Emoji emoji) => emoji.Group is not ("People & Body" or "Flags") && emoji.Subgroup is not ("alphanum" or "keycap" or "time");

    /// <summary>A caption with the colour's word: in place of the first colour word that it has ("light blue" is one), else in front.</summary>
    public static string Caption(string caption, Target target)
    {
        var words = caption.Split(' ').ToList();
        var place = words.FindIndex(ColourWords.Contains);
        if (place < 0) return $"{target.Word} {caption}";
        words[place] = target.Word;
        if (place > 0 && words[place - 1] is "light" or "dark") words.RemoveAt(place - 1);
        return string.Join(' ', words);
    }

    /// <summary>The pixels that carry a picture's colour: those near its heaviest hue, or the grey ones of a picture that is mostly grey. Null where neither is much of it.</summary>
    /// <param name="pixels">Of the picture.</param>
    public static Paint? PaintOf(IReadOnlyList<Hsv> pixels)
    {
        var drawn = Enumerable.Range(0, pixels.Count).Where(at => pixels[at].IsDrawn).ToList();
        if (drawn.Count == 0) return null;
        var grey = drawn.Where(at => pixels[at] is { Saturation: <= 0.3, Value: > 0.25 }).ToList();
        if (grey.Count >= 0.5 * drawn.Count) return new Paint(grey, Grey: true);
        var main = HeaviestHue(drawn.Select(at => pixels[at]));
        var near = drawn.Where(at => pixels[at] is { Saturation: > 0.25, Value: > 0.2 } && Hsv.Apart(pixels[at].Hue, main) <= 32).ToList();
        return near.Count >= 0.3 * drawn.Count ? new Paint(near, Grey: false) : null;
    }

    /// <summary>The picture with those pixels in another colour.</summary>
    public static Picture Apply(Picture picture, IReadOnlyList<Hsv> pixels, Paint paint, Target target)
    {
        var middle = paint.At.Select(at => pixels[at].Saturation).Order().ElementAt(paint.At.Count / 2);
        var bright = paint.At.Select(at => pixels[at].Value).Order().ElementAt(paint.At.Count * 4 / 5);
        var painted = (byte[])picture.Pixels.Clone();
        foreach (var at in paint.At)
        {
            var (_, saturation, value) = pixels[at];
            var wanted = paint.Grey ? target.Saturation * (1.3 - 0.6 * value) : saturation * target.Saturation / middle;
            new Hsv(target.Hue, Math.Clamp(wanted, 0, 1), Math.Clamp(value * target.Value / bright, 0, 1)).Write(painted.AsSpan(at * 3, 3));
        }
        return picture with { Pixels = painted };
    }

    /// <summary>The middle of the heaviest of 36 bins of 10 degrees; a pixel weighs saturation times value, and bins are averaged over five.</summary>
    private static double HeaviestHue(IEnumerable<Hsv> pixels)
    {
        const int bins = 36;
        var weights = new double[bins];
        foreach (var pixel in pixels) weights[(int)(pixel.Hue / 10) % bins] += pixel.Saturation * pixel.Value;
        var heaviest = Enumerable.Range(0, bins).MaxBy(bin => Enumerable.Range(-2, 5).Sum(near => weights[(bin + near + bins) % bins]));
        return heaviest * 10 + 5;
    }
}

/// <summary>Pixels to paint.</summary>
/// <param name="At">Their places, row by row.</param>
/// <param name="Grey">Whether they are grey now.</param>
internal sealed record Paint(IReadOnlyList<int> At, bool Grey);

/// <summary>A colour.</summary>
/// <param name="Hue">0 to below 360 degrees; 0 for greys.</param>
/// <param name="Saturation">0 to 1.</param>
/// <param name="Value">0 to 1.</param>
internal readonly record struct Hsv(double Hue, double Saturation, double Value)
{
    /// <summary>Whether it is of the thing and not of the white ground: the smallest of red, green and blue is below 0.97.</summary>
    public bool IsDrawn => Value * (1 - Saturation) < 0.97;

    /// <summary>How far two hues lie apart, 0 to 180.</summary>
    public static double Apart(double one, double other)
    {
        var distance = Math.Abs(one - other) % 360;
        return Math.Min(distance, 360 - distance);
    }

    /// <summary>The colours of a picture, row by row.</summary>
    public static Hsv[] Of(Picture picture) => [.. Enumerable.Range(0, picture.Side * picture.Side).Select(at => Read(picture.Pixels.AsSpan(at * 3, 3)))];

    /// <summary>From red, green and blue of 0 to 255.</summary>
    public static Hsv Read(ReadOnlySpan<byte> colour)
    {
        double red = colour[0] / 255.0, green = colour[1] / 255.0, blue = colour[2] / 255.0;
        var value = Math.Max(red, Math.Max(green, blue));
        var range = value - Math.Min(red, Math.Min(green, blue));
        if (range == 0) return new Hsv(0, 0, value);
        var sixth = value == red ? (green - blue) / range : value == green ? 2 + (blue - red) / range : 4 + (red - green) / range;
        return new Hsv((sixth * 60 + 360) % 360, range / value, value);
    }

    /// <summary>To red, green and blue of 0 to 255, rounded.</summary>
    public void Write(Span<byte> colour)
    {
        for (var channel = 0; channel < 3; channel++)
        {
            // 1 near the channel's own hue (0, 120 and 240 degrees), 0 on the other side of the circle, straight lines between
            var share = Math.Clamp(2 - Apart(Hue, channel * 120) / 60, 0, 1);
            colour[channel] = (byte)Math.Round(255 * Value * (1 - Saturation * (1 - share)), MidpointRounding.AwayFromZero);
        }
    }
}
