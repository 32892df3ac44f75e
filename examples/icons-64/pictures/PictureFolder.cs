using NetVips;

namespace LowRank.Examples.Icons;

/// <summary>A square picture.</summary>
/// <param name="Side">In pixels.</param>
/// <param name="Pixels">Side × side × 3 bytes: red, green, blue.</param>
internal sealed record Picture(int Side, byte[] Pixels)
{
    /// <summary>Side of every picture of the data.</summary>
    public const int IconSide = 64;

    /// <summary>Writes it as PNG.</summary>
    public void Write(string path)
    {
        using var raw = Image.NewFromMemory(Pixels, Side, Side, 3, Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Enums.Interpretation.Srgb);
        image.Pngsave(path, keep: Enums.ForeignKeep.None);
    }
}

/// <summary>Pictures with captions as <c>[[data]]</c> of a recipe reads them: name.png and name.txt.</summary>
internal static class PictureFolder
{
    /// <summary>
    /// The lines of a caption file: the caption, and phrasings that <c>wildcards = true</c> draws from. One line of four is drawn with equal chances,
    /// and one of six phrasings within the last, so a quarter of the uses has one. Without wildcards only the first line counts.
    /// </summary>
    public static string Lines(string caption) =>
        $"{caption}\n{caption}\n{caption}\n{{a {caption}|{caption} emoji|{caption} icon|an icon of {caption}|a picture of {caption}|one {caption}}}\n";

    /// <summary>A file name without an ending, for every system: "1515_keycap" for "keycap #".</summary>
    public static string FileName(int index, string caption) =>
        $"{index:D4}_{string.Join('-', caption.Split(' ').Select(word => string.Concat(word.Where(char.IsAsciiLetterOrDigit))).Where(word => word.Length > 0))}";

    /// <summary>Writes a picture and its caption.</summary>
    /// <param name="folder">Made when absent.</param>
    /// <param name="name">Of the files, without an ending.</param>
    /// <param name="picture">What.</param>
    /// <param name="caption">The content of the caption file.</param>
    public static void Add(string folder, string name, Picture picture, string caption)
    {
        Directory.CreateDirectory(folder);
        picture.Write(Path.Combine(folder, name + ".png"));
        File.WriteAllText(Path.Combine(folder, name + ".txt"), caption);
    }
}
