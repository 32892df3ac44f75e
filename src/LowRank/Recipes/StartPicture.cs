using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Images;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>How large pictures become, and what they start from. Owns its tensors.</summary>
internal sealed class StartPicture : IDisposable
{
    private StartPicture(PixelSize size) => Size = size;

    /// <summary>Of the pictures to make.</summary>
    public PixelSize Size { get; }

    /// <summary>(1, 3, H, W) in [-1, 1]; null to start from noise alone.</summary>
    public Tensor? Image { get; private init; }

    /// <summary>(1, 1, H, W) in [0, 1], 1 where the picture is painted anew; null for all of it.</summary>
    public Tensor? Mask { get; private init; }

    /// <summary>Reads what the options name.</summary>
    /// <exception cref="LowRankException">A size that the model cannot make, or a picture that cannot be read.</exception>
    public static StartPicture Of(PictureOptions options, IDiffusionFamily family)
    {
        var (picture, mask) = (options.Image is null ? null : Read(options.Image), options.Mask is null ? null : Read(options.Mask));
        if (picture is not null && options is { Width: { } wantedWidth, Height: { } wantedHeight } && picture.Size != new PixelSize(wantedWidth, wantedHeight)) picture = ResizeCrop.Resize(picture, new PixelSize(wantedWidth, wantedHeight));
        var (height, width) = (options.Height ?? picture?.Size.Height ?? family.DefaultSize, options.Width ?? picture?.Size.Width ?? family.DefaultSize);
        var (step, size) = (family.LatentFactor, new PixelSize(width, height));
        if (height % step != 0 || width % step != 0) throw new OptionsException($"size: {width}×{height}; both sides must be multiples of {step}, since a latent of this model is {step} pixels: try {width / step * step}×{height / step * step}");
        if (picture is null) return new StartPicture(size);
        if (picture.Size != size) throw new OptionsException($"size: {size} for a picture of {picture.Size}; give both --width and --height to resize it, or neither");
        return new StartPicture(size)
        {
            Image = tensor(PixelTensor.ToPlanes(picture), [1, 3, height, width]),
            Mask = mask is null ? null : MaskOf(mask.Size == size ? mask : ResizeCrop.Resize(mask, size)),
        };
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Image?.Dispose();
        Mask?.Dispose();
    }

    private static Tensor MaskOf(RgbImage mask)
    {
        using var scope = NewDisposeScope();
        return tensor(PixelTensor.ToPlanes(mask), [1, 3, mask.Size.Height, mask.Size.Width]).mean([1], keepdim: true).Times(0.5f).Plus(0.5f).MoveToOuterDisposeScope();
    }

    private static RgbImage Read(string path)
    {
        try
        {
            return ImageFile.Read(path);
        }
        catch (Exception problem) when (problem is ImageDefectException or IOException or UnauthorizedAccessException)
        {
            throw new DatasetException($"picture cannot be read: {path}\n  {problem.Message}", problem);
        }
    }
}
