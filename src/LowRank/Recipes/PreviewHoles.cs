using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Images;

namespace LowRank.Recipes;

/// <summary>
/// What previews of an inpainting model paint in: for each prompt the training picture with that caption, or the next one, cut square. The hole is the
/// picture's mask where masks are holes and it has one, else the middle half of both sides.
/// </summary>
internal sealed class PreviewHoles
{
    private const byte Grey = 128;   // what the denoiser sees in the hole

    private readonly IReadOnlyList<Batch> pictures;

    private PreviewHoles(IReadOnlyList<Batch> pictures) => this.pictures = pictures;

    /// <summary>The pictures without their holes.</summary>
    public IReadOnlyList<RgbImage> Shown => [.. pictures.Select(WithoutHole)];

    /// <summary>Reads the pictures; null for a model that paints from nothing.</summary>
    public static PreviewHoles? Of(IRunOptions options, IDiffusionFamily family, TrainingData data, IReadOnlyList<string> prompts)
    {
        if (family.DenoiserChannels == family.LatentChannels) return null;
        var square = AspectBuckets.Single(new PixelSize(family.DefaultSize, family.DefaultSize));
        return new PreviewHoles([.. prompts.Select((prompt, index) =>
        {
            var image = data.Images.FirstOrDefault(image => Captions.Plain(image.Caption, image.Options.CaptionRules) == prompt) ?? data.Images[index % data.Images.Count];
            var placed = image with { Choice = square.Select(image.Size)!.Value };
            var batch = BatchLoader.Load(new PlannedBatch([new Sample(placed, placed.Centre(flip: false), prompt)], null));
            return options.Inpainting is { Holes: HoleSource.Masks } && batch.Masks is not null ? batch : batch with { Masks = Middle(batch.Size) };
        })]);
    }

    /// <summary>The request for a prompt, with its picture and hole. The tensors are the caller's.</summary>
    public GenerationRequest In(GenerationRequest request, int prompt) => request with { Image = pictures[prompt].ToTensor(), Mask = pictures[prompt].MasksToTensor() };

    private static byte[] Middle(PixelSize size)
    {
        var mask = new byte[size.Pixels];
        for (var row = size.Height / 4; row < size.Height - size.Height / 4; row++) mask.AsSpan(row * size.Width + size.Width / 4, size.Width - size.Width / 4 * 2).Fill(255);
        return mask;
    }

    private static RgbImage WithoutHole(Batch picture)
    {
        var pixels = picture.Pixels.ToArray();
        for (var i = 0; i < picture.Masks!.Length; i++)
        {
            if (picture.Masks[i] >= Grey) pixels.AsSpan(3 * i, 3).Fill(Grey);
        }
        return new RgbImage(picture.Size, pixels);
    }
}
