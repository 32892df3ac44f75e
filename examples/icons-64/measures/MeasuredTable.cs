using static System.FormattableString;

namespace LowRank.Examples.Icons;

/// <summary>The measures in words, as a table of Markdown.</summary>
internal static class MeasuredTable
{
    /// <summary>Its lines.</summary>
    public static IEnumerable<string> Lines(MeasuredBase measured)
    {
        yield return Invariant($"| measure | {Path.GetFileName(measured.Model.TrimEnd('/', '\\'))} |");
        yield return "| --- | --- |";
        yield return Invariant($"| autoencoder, emoji | {measured.PsnrPlain:F2} dB |");
        yield return Invariant($"| autoencoder, Tango icons | {measured.PsnrTango:F2} dB |");
        yield return Invariant($"| latents, mean by channel | {string.Join(", ", measured.LatentMeans.Select(value => Invariant($"{value:F3}")))} |");
        yield return Invariant($"| latents, deviation by channel | {string.Join(", ", measured.LatentDeviations.Select(value => Invariant($"{value:F3}")))} |");
        yield return Invariant($"| recall by pixels: first, first 5, first 20, median place | {Recall(measured.RecallByPixels)} |");
        yield return Invariant($"| recall by latents | {Recall(measured.RecallByLatents)} |");
        yield return Invariant($"| colours of unseen combinations | {measured.Colours} of {measured.ColoursAsked} |");
        yield return Invariant($"| loss on {measured.HeldOutEmoji.Pictures} held-out emoji, of the clean latents | {measured.HeldOutEmoji.Loss:F4}, {measured.HeldOutEmoji.PictureLoss:F4} |");
        yield return Invariant($"| loss on {measured.HeldOutColours.Pictures} held-out colourings, of the clean latents | {measured.HeldOutColours.Loss:F4}, {measured.HeldOutColours.PictureLoss:F4} |");
    }

    private static string Recall(Ranks ranks) => Invariant($"{100 * ranks.Top1:F0} %, {100 * ranks.Top5:F0} %, {100 * ranks.Top20:F0} %, {ranks.MedianRank:0.#}");
}
