using NetVips;

namespace LowRank.Images;

/// <summary>How a picture becomes a training picture: resized, then cut out, then mirrored.</summary>
/// <param name="Resized">Size of the whole picture after resizing.</param>
/// <param name="Left">First column of the cut in the resized picture.</param>
/// <param name="Top">First row of the cut in the resized picture.</param>
/// <param name="Size">Size of the cut.</param>
/// <param name="Flip">Whether left and right are swapped at the end.</param>
internal readonly record struct Placement(PixelSize Resized, int Left, int Top, PixelSize Size, bool Flip);

/// <summary>
/// Resizing for training pictures, by libvips: Lanczos3 when shrinking, bicubic when enlarging, antialiased, within a few 8-bit levels of Pillow
/// (the table of the golden case <c>resize</c>). Only what is asked for is decoded: JPEGs are shrunk while decoding, SVGs drawn at the size wanted.
/// </summary>
internal static class ResizeCrop
{
    /// <summary>Decodes a file, resizes, cuts out and mirrors it.</summary>
    /// <param name="content">The file's bytes.</param>
    /// <param name="placement">What to do; the cut lies inside the resized picture.</param>
    /// <returns>The cut.</returns>
    /// <exception cref="ImageDefectException">The content is damaged, no picture, or too large.</exception>
    public static RgbImage Load(byte[] content, Placement placement)
    {
        var header = ImageFile.ReadHeader(content);
        return ImageFile.Guard(content, () =>
        {
            var target = header.Orientation >= 5 ? placement.Resized.Turned : placement.Resized;   // as stored, before the turn
            var plan = PlanFor(header, target);
            using var opened = ImageFile.Open(content, header, plan);
            using var resized = Resize(opened, target);
            return new RgbImage(placement.Size, Cut(resized, header.Orientation, placement));
        });
    }

    /// <summary>
    /// Decodes a mask and puts it where its picture goes: the same turn, size, cut and mirroring, but a kernel that leaves no bright or dark rims.
    /// </summary>
    /// <param name="content">The mask file's bytes, or the picture's own for its alpha channel.</param>
    /// <param name="placement">The picture's.</param>
    /// <param name="alpha">Whether the mask is the alpha channel.</param>
    /// <returns>Height × width bytes: 0 (left out) to 255.</returns>
    /// <exception cref="ImageDefectException">The content is damaged, no picture, or too large.</exception>
    public static byte[] LoadMask(byte[] content, Placement placement, bool alpha)
    {
        var header = ImageFile.ReadHeader(content);
        return ImageFile.Guard(content, () =>
        {
            var target = header.Orientation >= 5 ? placement.Resized.Turned : placement.Resized;
            using var opened = alpha ? ImageFile.OpenAlpha(content, header, PlanFor(header, target)) : ImageFile.Open(content, header, PlanFor(header, target));
            using var band = opened.ExtractBand(0);
            using var resized = Resize(band, target, Enums.Kernel.Linear);
            return Cut(resized, header.Orientation, placement);
        });
    }

    /// <summary>Decodes a whole mask, upright.</summary>
    /// <param name="content">The mask file's bytes, or a picture's own for its alpha channel.</param>
    /// <param name="alpha">Whether the mask is the alpha channel.</param>
    /// <exception cref="ImageDefectException">The content is damaged, no picture, or too large.</exception>
    public static GreyImage LoadMask(byte[] content, bool alpha)
    {
        var size = ImageFile.ReadHeader(content).Size;
        return new GreyImage(size, LoadMask(content, new Placement(size, 0, 0, size, Flip: false), alpha));
    }

    /// <summary>Resizes a decoded picture.</summary>
    public static RgbImage Resize(RgbImage picture, PixelSize size)
    {
        using var image = Image.NewFromMemory(picture.Pixels, picture.Size.Width, picture.Size.Height, 3, Enums.BandFormat.Uchar);
        using var resized = Resize(image, size);
        return new RgbImage(size, resized.WriteToMemory<byte>());
    }

    /// <summary>A lazy image of exactly this size; each side shrinks by <paramref name="kernel"/> or grows by bicubic interpolation.</summary>
    internal static Image Resize(Image image, PixelSize size, Enums.Kernel kernel = Enums.Kernel.Lanczos3)
    {
        var shrunk = Shrink(image, new PixelSize(Math.Min(size.Width, image.Width), Math.Min(size.Height, image.Height)), kernel);
        if (shrunk.Width == size.Width && shrunk.Height == size.Height) return shrunk;
        using (shrunk) return Enlarge(shrunk, size);
    }

    private static byte[] Cut(Image resized, int orientation, Placement placement)
    {
        using var upright = Upright(resized, orientation);
        using var cut = upright.ExtractArea(placement.Left, placement.Top, placement.Size.Width, placement.Size.Height);
        using var mirrored = placement.Flip ? cut.FlipHor() : null;
        return (mirrored ?? cut).WriteToMemory<byte>();
    }

    /// <summary>Turning asks for rows out of order, so the picture, which is small by now, is brought into memory first.</summary>
    private static Image Upright(Image image, int orientation)
    {
        if (orientation == 1) return image.Copy();
        using var small = image.CopyMemory();
        return small.Autorot();
    }

    private static Image Shrink(Image image, PixelSize size, Enums.Kernel kernel)
    {
        var shrunk = image.Resize((double)size.Width / image.Width, vscale: (double)size.Height / image.Height, kernel: kernel);
        if (shrunk.Width != size.Width || shrunk.Height != size.Height)
        {
            // libvips takes factors and rounds the size itself
            throw new InvalidOperationException($"resizing to {size} gave {new PixelSize(shrunk.Width, shrunk.Height)}");
        }
        return shrunk;
    }

    /// <summary>By <c>affine</c>, since <c>resize</c> above scale 1 moves the picture by half an output pixel; the offsets put pixel centres where they belong.</summary>
    private static Image Enlarge(Image image, PixelSize size)
    {
        double across = (double)size.Width / image.Width, down = (double)size.Height / image.Height;
        using var bicubic = Interpolate.NewFromName("bicubic");
        return image.Affine([across, 0, 0, down], interpolate: bicubic, oarea: [0, 0, size.Width, size.Height],
            odx: (across - 1) / 2, ody: (down - 1) / 2, extend: Enums.Extend.Copy);
    }

    /// <summary>
    /// Shrinking while decoding is used for JPEG only, and leaves at least a factor of 2 to the Lanczos filter (within 4 levels of a full decode).
    /// libvips could do it for WebP too, but with a box filter that is up to 26 levels off. Its thumbnail operation is not used at all: it returns damaged files without an error.
    /// </summary>
    private static ImageFile.LoadPlan PlanFor(ImageHeader header, PixelSize target)
    {
        var stored = header.StoredSize;
        double across = (double)target.Width / stored.Width, down = (double)target.Height / stored.Height;
        var factor = 1 / Math.Max(across, down);
        return new ImageFile.LoadPlan
        {
            JpegShrink = factor switch { >= 16 => 8, >= 8 => 4, >= 4 => 2, _ => 1 },
            DrawingScale = header.Format == "svg" ? Math.Max(across, down) : 1,
            Sequential = across <= 1 && down <= 1 && header.Format != "svg",   // a drawing may come out a pixel short, and enlarging jumps
        };
    }
}
