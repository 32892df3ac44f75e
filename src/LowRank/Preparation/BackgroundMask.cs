using LowRank.Images;

namespace LowRank.Preparation;

/// <summary>A mask of what stands before a plain background: everything that cannot be reached from the border through pixels of the border's colour.</summary>
internal static class BackgroundMask
{
    /// <summary>0 for the background, 255 for the rest.</summary>
    /// <param name="picture">Any picture.</param>
    /// <param name="tolerance">How far, in 8-bit levels, red, green or blue may be from the background's colour (the median of the border); 0 to 255.</param>
    public static GreyImage Draw(RgbImage picture, int tolerance)
    {
        var (width, height) = picture.Size;
        var border = Border(width, height).ToArray();
        var colour = Enumerable.Range(0, 3).Select(channel => Median(border, picture, channel)).ToArray();
        var pixels = new byte[picture.Size.Pixels];
        Array.Fill(pixels, (byte)255);
        var waiting = new Stack<int>(border);
        while (waiting.TryPop(out var at))
        {
            if (pixels[at] == 0 || !IsBackground(at)) continue;
            pixels[at] = 0;
            var (x, y) = (at % width, at / width);
            if (x > 0) waiting.Push(at - 1);
            if (x < width - 1) waiting.Push(at + 1);
            if (y > 0) waiting.Push(at - width);
            if (y < height - 1) waiting.Push(at + width);
        }
        return new GreyImage(picture.Size, pixels);

        bool IsBackground(int at) => Enumerable.Range(0, 3).All(channel => Math.Abs(picture.Pixels[at * 3 + channel] - colour[channel]) <= tolerance);
    }

    private static IEnumerable<int> Border(int width, int height)
    {
        for (var x = 0; x < width; x++)
        {
            yield return x;
            yield return (height - 1) * width + x;
        }
        for (var y = 0; y < height; y++)
        {
            yield return y * width;
            yield return y * width + width - 1;
        }
    }

    private static int Median(int[] border, RgbImage picture, int channel) =>
        border.Select(at => picture.Pixels[at * 3 + channel]).Order().ElementAt(border.Length / 2);
}
