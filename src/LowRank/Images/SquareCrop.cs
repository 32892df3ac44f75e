namespace LowRank.Images;

/// <summary>A part of a picture, in whole pixels; right and bottom are the first column and row outside.</summary>
internal readonly record struct CropBox(int Left, int Top, int Right, int Bottom)
{
    public PixelSize Size => new(Right - Left, Bottom - Top);
}

/// <summary>
/// Cuts the largest square out of a picture, along its long side as near to a point as it goes: the crop of the 2022 package
/// (cloneofsimo/lora, lora_diffusion/preprocess_files.py, <c>_center_of_mass</c> and <c>_crop_to_square</c>).
/// </summary>
internal static class SquareCrop
{
    /// <summary>Where the white of a mask lies in the mean, in pixels counted from 0; null for a mask that is black all over.</summary>
    public static (double X, double Y)? CentreOfMass(GreyImage mask)
    {
        long sum = 0, across = 0, down = 0;
        for (var i = 0; i < mask.Pixels.Length; i++)
        {
            sum += mask.Pixels[i];
            across += (long)mask.Pixels[i] * (i % mask.Size.Width);
            down += (long)mask.Pixels[i] * (i / mask.Size.Width);
        }
        return sum == 0 ? null : ((double)across / sum, (double)down / sum);
    }

    /// <summary>The middle of a picture, as the package takes it where no mask rules.</summary>
    public static (double X, double Y) Middle(PixelSize size) => (size.Width / 2.0, size.Height / 2.0);

    /// <summary>The square around a point, moved so that it stays inside. Each corner is rounded by itself, halves to even, so that a side may be a pixel longer.</summary>
    public static CropBox Around(PixelSize size, (double X, double Y) centre)
    {
        var side = Math.Min(size.Width, size.Height);
        double left = 0, top = 0;
        if (size.Width > size.Height) left = Math.Clamp(centre.X - side / 2.0, 0, size.Width - side);
        else top = Math.Clamp(centre.Y - side / 2.0, 0, size.Height - side);
        return new CropBox((int)Math.Round(left), (int)Math.Round(top), (int)Math.Round(left + side), (int)Math.Round(top + side));
    }

    /// <summary>The pixels of a box, resized by Pillow's Lanczos where a side is given.</summary>
    /// <param name="pixels">height × width × channels bytes.</param>
    /// <param name="size">Size of <paramref name="pixels"/>.</param>
    /// <param name="channels">1 or 3.</param>
    /// <param name="box">Which part.</param>
    /// <param name="side">Wanted width and height; null keeps the box's own.</param>
    public static (PixelSize Size, byte[] Pixels) Cut(byte[] pixels, PixelSize size, int channels, CropBox box, int? side)
    {
        var row = box.Size.Width * channels;
        var cut = new byte[row * box.Size.Height];
        for (var y = 0; y < box.Size.Height; y++)
        {
            pixels.AsSpan(((box.Top + y) * size.Width + box.Left) * channels, row).CopyTo(cut.AsSpan(y * row));
        }
        if (side is not { } wanted) return (box.Size, cut);
        var square = new PixelSize(wanted, wanted);
        return (square, PillowResize.Resize(cut, box.Size, channels, square, PillowFilter.Lanczos));
    }
}
