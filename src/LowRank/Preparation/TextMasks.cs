using LowRank.Data;
using LowRank.Images;

namespace LowRank.Preparation;

/// <summary>A mask, or why there is none.</summary>
/// <param name="Mask">Of its picture's size; null where there is none.</param>
/// <param name="Problem">Why; null where there is one.</param>
/// <param name="Note">What to know of it; null otherwise.</param>
internal sealed record DrawnMask(GreyImage? Mask, string? Problem = null, string? Note = null);

/// <summary>Masks of one text, or of each picture's own caption as the 2022 package does it.</summary>
internal sealed class TextMasks : IDisposable
{
    private readonly Segmenter segmenter;
    private readonly string? text;
    private readonly float temperature;

    private TextMasks(Segmenter segmenter, string? text, float temperature) => (this.segmenter, this.text, this.temperature) = (segmenter, text, temperature);

    /// <exception cref="Foundation.LowRankException">The model or tokenizer cannot be used.</exception>
    public static TextMasks Open(string model, string? tokenizer, int? size, string? text, double temperature) =>
        new(Segmenter.Open(model, tokenizer, size), text, (float)temperature);

    /// <summary>Where the things of the text are.</summary>
    public DrawnMask Draw(PictureFile picture, RgbImage pixels)
    {
        var wanted = text;
        if (wanted is null)
        {
            var caption = CaptionFile.Find(picture.Path, "");
            if (caption.Problem is not null) return new DrawnMask(null, $"nothing to look for: {caption.Problem}");
            wanted = caption.Lines[0];
        }
        var cut = segmenter.CutText(wanted);
        return new DrawnMask(segmenter.Draw(pixels, wanted, temperature), null, cut is null ? null : $"its text is longer than the model's window; cut away: \"{cut.Text}\"");
    }

    public void Dispose() => segmenter.Dispose();
}
