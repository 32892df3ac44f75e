using System.Globalization;
using LowRank.Foundation;
using LowRank.Images;

namespace LowRank.Preparation;

/// <summary>A part of a picture, as shares of its width and height.</summary>
/// <param name="X">Left edge.</param>
/// <param name="Y">Upper edge.</param>
/// <param name="Width">Width.</param>
/// <param name="Height">Height.</param>
internal readonly record struct RelativeBox(double X, double Y, double Width, double Height);

/// <summary>
/// Boxes of a detector (faces, say) to a mask, as the 2022 package makes it (cloneofsimo/lora, lora_diffusion/preprocess_files.py,
/// <c>face_mask_google_mediapipe</c>): 255 inside, 1 outside, since a background of 0 would not be learned at all.
/// </summary>
internal static class BoxMask
{
    private const byte Outside = 1;

    /// <summary>Draws the boxes. Left, top, width and height are each cut to whole pixels; what lies outside the picture is left away.</summary>
    public static GreyImage Draw(PixelSize size, IEnumerable<RelativeBox> boxes)
    {
        var pixels = new byte[size.Pixels];
        Array.Fill(pixels, Outside);
        foreach (var box in boxes)
        {
            int left = (int)(box.X * size.Width), top = (int)(box.Y * size.Height);
            int right = Math.Min(left + (int)(box.Width * size.Width), size.Width), bottom = Math.Min(top + (int)(box.Height * size.Height), size.Height);
            (left, top) = (Math.Max(left, 0), Math.Max(top, 0));
            for (var y = top; y < bottom && right > left; y++) pixels.AsSpan(y * size.Width + left, right - left).Fill(255);
        }
        return new GreyImage(size, pixels);
    }

    /// <summary>Reads a label file as YOLO's tools write it: a line a box, "class centre-x centre-y width height", as shares of the picture; more numbers behind are not looked at.</summary>
    /// <exception cref="DatasetException">A line is not of this form; the message names it.</exception>
    public static List<RelativeBox> Read(string path)
    {
        var boxes = new List<RelativeBox>();
        var number = 0;
        foreach (var line in File.ReadLines(path))
        {
            number++;
            var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0) continue;
            var values = words.Skip(1).Take(4).Select(word => double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : double.NaN).ToArray();
            if (values.Length < 4 || !values.All(value => value is >= 0 and <= 1))
            {
                throw new DatasetException($"no box: {path}, line {number}: \"{line.Trim()}\"\n  expected  class centre-x centre-y width height, the last four from 0 to 1 (YOLO's labels)");
            }
            boxes.Add(new RelativeBox(values[0] - values[2] / 2, values[1] - values[3] / 2, values[2], values[3]));
        }
        return boxes;
    }
}
