using System.Globalization;
using LowRank.Images;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>
/// The sheet of a run's previews, prompts across and steps down, which grows while the run goes on. Made anew from the saved previews each time:
/// nothing is kept in memory, and a resumed run goes on with what an earlier part drew.
/// </summary>
internal static class PreviewSheet
{
    private const int MostRows = 16, LargestSide = 192;   // about 5 MB as PNG at most with four prompts
    private const string PromptsKey = "prompts";

    /// <summary>What a preview says of itself, so that it is found to be of this sheet.</summary>
    public static IReadOnlyDictionary<string, string> Texts(IReadOnlyList<string> prompts) => new Dictionary<string, string> { [PromptsKey] = string.Join('\n', prompts) };

    /// <summary>Writes the sheet. Where there are more previews than rows, the first, the last and some evenly between.</summary>
    /// <param name="folder">Holds the previews.</param>
    /// <param name="prompts">Those of this run: previews of others, from before a resume that changed them, are left out.</param>
    /// <param name="drawn">Size of a picture in the previews.</param>
    public static void Write(RunFolder folder, IReadOnlyList<string> prompts, PixelSize drawn)
    {
        var text = Texts(prompts)[PromptsKey];
        var found = folder.PreviewSteps().Select(step => (Step: step, Content: File.ReadAllBytes(folder.Preview(step))))
            .Where(item => PngText.Read(item.Content).GetValueOrDefault(PromptsKey) == text).Select(item => item.Step).ToList();
        if (found.Count == 0) return;
        var shown = found.Count <= MostRows ? found : [.. Enumerable.Range(0, MostRows).Select(row => found[(int)Math.Round(row * (found.Count - 1.0) / (MostRows - 1))])];
        var sheet = ImageGrid.Sheet([.. shown.Select(step => Pictures(ImageFile.Read(folder.Preview(step)), prompts.Count, drawn))], prompts,
            [.. shown.Select(step => step == 0 ? "before" : string.Create(CultureInfo.InvariantCulture, $"step {step}"))]);
        ImageFile.WritePng(folder.PreviewSheet, sheet);
    }

    /// <summary>The pictures of the bottom row of a preview; words are above and left of them.</summary>
    private static List<RgbImage> Pictures(RgbImage preview, int count, PixelSize drawn)
    {
        var scale = Math.Min(1, (double)LargestSide / Math.Max(drawn.Width, drawn.Height));
        var size = new PixelSize((int)Math.Round(drawn.Width * scale), (int)Math.Round(drawn.Height * scale));
        return [.. Enumerable.Range(0, count).Select(index =>
        {
            var cut = ImageGrid.CutFromEnd(preview, drawn, count - index);
            return scale == 1 ? cut : new RgbImage(size, PillowResize.Resize(cut.Pixels, drawn, 3, size, PillowFilter.Box));
        })];
    }
}
