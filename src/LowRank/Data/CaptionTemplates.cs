namespace LowRank.Data;

/// <summary>
/// Prompts around a placeholder, <c>{}</c>, for training on few pictures without captions. The lists are those of textual inversion
/// (arXiv 2208.01618, which took them from CLIP's ImageNet prompts), to the word, since adapters in use were trained with them.
/// </summary>
internal static class CaptionTemplates
{
    /// <summary>For objects: 27.</summary>
    public static IReadOnlyList<string> Object { get; } =
    [
        "a photo of a {}", "a rendering of a {}", "a cropped photo of the {}", "the photo of a {}", "a photo of a clean {}",
        "a photo of a dirty {}", "a dark photo of the {}", "a photo of my {}", "a photo of the cool {}", "a close-up photo of a {}",
        "a bright photo of the {}", "a cropped photo of a {}", "a photo of the {}", "a good photo of the {}", "a photo of one {}",
        "a close-up photo of the {}", "a rendition of the {}", "a photo of the clean {}", "a rendition of a {}", "a photo of a nice {}",
        "a good photo of a {}", "a photo of the nice {}", "a photo of the small {}", "a photo of the weird {}", "a photo of the large {}",
        "a photo of a cool {}", "a photo of a small {}",
    ];

    /// <summary>For styles: 19, of which two occur twice.</summary>
    public static IReadOnlyList<string> Style { get; } =
    [
        "a painting in the style of {}", "a rendering in the style of {}", "a cropped painting in the style of {}", "the painting in the style of {}",
        "a clean painting in the style of {}", "a dirty painting in the style of {}", "a dark painting in the style of {}", "a picture in the style of {}",
        "a cool painting in the style of {}", "a close-up painting in the style of {}", "a bright painting in the style of {}",
        "a cropped painting in the style of {}", "a good painting in the style of {}", "a close-up painting in the style of {}",
        "a rendition in the style of {}", "a nice painting in the style of {}", "a small painting in the style of {}",
        "a weird painting in the style of {}", "a large painting in the style of {}",
    ];

    /// <summary>Only the placeholder.</summary>
    public static IReadOnlyList<string> Plain { get; } = ["{}"];

    /// <summary>Replaces words by placeholder tokens, one after the other, each in the result of the one before; anywhere, also inside words.</summary>
    public static string ReplaceTokens(string caption, IReadOnlyList<KeyValuePair<string, string>> tokens) =>
        tokens.Aggregate(caption.Trim(), (text, token) => text.Replace(token.Key, token.Value, StringComparison.Ordinal));
}
