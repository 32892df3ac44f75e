using LowRank.Images;
using LowRank.Testing;
using NetVips;

namespace LowRank.Tests.Images;

/// <summary>Picture files for tests, made on the spot.</summary>
internal static class Samples
{
    public static RgbImage Picture(int width, int height, int seed = 1) => new(new PixelSize(width, height), FormulaPicture.Of("sample", height, width, 3, seed));

    /// <summary>A picture without fine detail, so that two ways of resizing it must agree closely.</summary>
    public static RgbImage Smooth(int width, int height) => ResizeCrop.Resize(Picture(9, 7), new PixelSize(width, height));

    public static byte[] Png(int width = 24, int height = 16, int seed = 1) => ImageFile.EncodePng(Picture(width, height, seed));

    public static byte[] Jpeg(RgbImage picture, int orientation = 1)
    {
        using var raw = Image.NewFromMemory(picture.Pixels, picture.Size.Width, picture.Size.Height, 3, Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Enums.Interpretation.Srgb);
        using var marked = image.Mutate(change => change.Set(GValue.GIntType, "orientation", orientation));
        return marked.JpegsaveBuffer(q: 95, subsampleMode: Enums.ForeignSubsample.Off);
    }

    /// <summary>A file by libvips' writer for this ending.</summary>
    public static byte[] Encode(RgbImage picture, string ending)
    {
        using var raw = Image.NewFromMemory(picture.Pixels, picture.Size.Width, picture.Size.Height, 3, Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Enums.Interpretation.Srgb);
        return image.WriteToBuffer(ending);
    }
}
