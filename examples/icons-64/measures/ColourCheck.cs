using LowRank.Images;

namespace LowRank.Examples.Icons;

/// <summary>Whether a drawn picture has the colour that was asked for.</summary>
internal static class ColourCheck
{
    private const double Ground = 0.93, MostApart = 40;

    /// <summary>
    /// The mean hue on the circle of the drawn pixels (smallest channel below 0.93), weighed by saturation times value, lies within 40 degrees of the colour's.
    /// Black has no hue: there the mean value must be below 0.55 and the mean of saturation times value below 0.3.
    /// </summary>
    public static bool Has(RgbImage picture, Target colour)
    {
        var drawn = Enumerable.Range(0, picture.Pixels.Length / 3).Select(at => Hsv.Read(picture.Pixels.AsSpan(at * 3, 3))).Where(pixel => pixel.Value * (1 - pixel.Saturation) < Ground).ToList();
        if (drawn.Count == 0) return false;
        if (colour.Saturation == 0) return drawn.Average(pixel => pixel.Value) < 0.55 && drawn.Average(pixel => pixel.Saturation * pixel.Value) < 0.3;
        var across = drawn.Sum(pixel => pixel.Saturation * pixel.Value * Math.Cos(pixel.Hue * Math.PI / 180));
        var up = drawn.Sum(pixel => pixel.Saturation * pixel.Value * Math.Sin(pixel.Hue * Math.PI / 180));
        return Hsv.Apart(Math.Atan2(up, across) * 180 / Math.PI, colour.Hue) <= MostApart;
    }

    /// <summary>What a base is asked for: "red cat face", "green dog face", else the two words of the pair.</summary>
    public static string Prompt(ColourPair pair) => $"{pair.Colour} {pair.Things[0]}{(pair.Things[0] is "cat" or "dog" ? " face" : "")}";
}
