using LowRank.Images;

namespace LowRank.Preparation;

/// <summary>
/// A segmenter's answers for a text and for the empty text to a mask, as the 2022 package makes it (cloneofsimo/lora,
/// lora_diffusion/preprocess_files.py, <c>clipseg_mask_generator</c>).
/// </summary>
internal static class SegmentationMask
{
    private const float Bias = 0.01f;   // what is nowhere like the text still counts a little

    /// <summary>The text's share of the softmax of both, plus a hundredth, scaled so that the highest is white, cut (not rounded) to 8 bit.</summary>
    /// <param name="text">Logits for the text, any size.</param>
    /// <param name="empty">Logits for the empty text, as many.</param>
    /// <param name="size">Their width and height.</param>
    /// <param name="temperature">Divides the logits: below 1 harder edges, above 1 softer; above 0.</param>
    public static GreyImage Small(ReadOnlySpan<float> text, ReadOnlySpan<float> empty, PixelSize size, float temperature)
    {
        var shares = new float[size.Pixels];
        var highest = 0f;
        for (var i = 0; i < shares.Length; i++)
        {
            shares[i] = Math.Clamp(1 / (1 + MathF.Exp((empty[i] - text[i]) / temperature)) + Bias, 0, 1);
            highest = Math.Max(highest, shares[i]);
        }
        return new GreyImage(size, Array.ConvertAll(shares, share => (byte)(255 * share / highest)));
    }

    /// <summary>The mask at a picture's size, by Pillow's bicubic filter.</summary>
    public static GreyImage Enlarged(GreyImage small, PixelSize size) =>
        small.Size == size ? small : new GreyImage(size, PillowResize.Resize(small.Pixels, small.Size, 1, size, PillowFilter.Bicubic));
}
