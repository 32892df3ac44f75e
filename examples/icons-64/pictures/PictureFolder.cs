using System.Security.Cryptography;
using System.Text;

namespace LowRank.Examples.Icons;

/// <summary>Pictures with captions as <c>[[data]]</c> of a recipe reads them: name.png and name.txt.</summary>
/// <param name="root">Of all folders of the data.</param>
/// <param name="name">Of this one, relative to the root: "plain/things".</param>
internal sealed class PictureFolder(string root, string name) : IDisposable
{
    private readonly IncrementalHash content = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    /// <summary>Relative to the root.</summary>
    public string Name => name;

    /// <summary>How many were added.</summary>
    public int Count { get; private set; }

    /// <summary>The captions that were added, one each picture.</summary>
    public List<string> Captions { get; } = [];

    /// <summary>SHA-256 over names, captions and pixels in order: tells whether two folders hold the same, however PNGs are packed.</summary>
    public string Checksum => Convert.ToHexStringLower(content.GetCurrentHash());

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
    /// <param name="file">Name of the files, without an ending.</param>
    /// <param name="picture">What.</param>
    /// <param name="caption">Of the picture.</param>
    /// <param name="phrased">Whether phrasings come along: see <see cref="Lines"/>.</param>
    public void Add(string file, Picture picture, string caption, bool phrased = true)
    {
        var folder = Path.Combine(root, name);
        Directory.CreateDirectory(folder);
        picture.Write(Path.Combine(folder, file + ".png"));
        File.WriteAllText(Path.Combine(folder, file + ".txt"), phrased ? Lines(caption) : caption + "\n");
        content.AppendData(Encoding.UTF8.GetBytes($"{file}\n{caption}\n"));
        content.AppendData(picture.Pixels);
        Captions.Add(caption);
        Count++;
    }

    /// <inheritdoc/>
    public void Dispose() => content.Dispose();
}
