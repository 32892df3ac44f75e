using NetVips;

namespace LowRank.Examples.Icons;

/// <summary>The Tango icons: another style, which the base never sees.</summary>
internal static class TangoIcons
{
    /// <summary>How large an icon is drawn before it is made smaller.</summary>
    private const int Drawn = 512;

    /// <summary>Every icon of the package with its caption, sorted by name. Links, which are the same icons under other names, are left out.</summary>
    /// <param name="folder">Of the package: sub-folders of categories with SVG files.</param>
    /// <exception cref="IconDataException">The icons are not those that have captions.</exception>
    public static IEnumerable<(string Name, string Caption, Picture Picture)> Read(string folder)
    {
        var files = Directory.GetFiles(folder, "*.svg", SearchOption.AllDirectories).Where(file => new FileInfo(file).LinkTarget is null)
            .ToDictionary(file => $"{Path.GetFileName(Path.GetDirectoryName(file))}_{Path.GetFileNameWithoutExtension(file)}");
        var captions = OwnFiles.Text("tango-captions.tsv").Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('\t')).ToDictionary(parts => parts[0], parts => parts[1]);
        var strangers = files.Keys.Except(captions.Keys).Order(StringComparer.Ordinal).ToList();
        var missing = captions.Keys.Except(files.Keys).Order(StringComparer.Ordinal).ToList();
        if (strangers.Count + missing.Count > 0)
        {
            throw new IconDataException(
                $"the Tango icons are of another version: {folder}\n  {missing.Count} that have captions are not there ({string.Join(", ", missing.Take(3))}), {strangers.Count} have no caption ({string.Join(", ", strangers.Take(3))})\n" +
                "  tango-icon-theme 0.8.90 has the 213 that are meant");
        }
        return captions.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (pair.Key, pair.Value, Draw(files[pair.Key])));
    }

    /// <summary>One SVG on white at 64 × 64.</summary>
    private static Picture Draw(string file)
    {
        using var own = Image.Svgload(file);
        using var large = Image.Svgload(file, scale: (double)Drawn / own.Width);
        if (large.Width != Drawn || large.Height != Drawn) throw new IconDataException($"not a square icon: {file} is {own.Width}x{own.Height}\n  tango-icon-theme 0.8.90 has only squares");
        var rgba = large.WriteToMemory<byte>();
        var flat = new byte[Drawn * Drawn * 3];
        for (var at = 0; at < Drawn * Drawn; at++)
        {
            for (var channel = 0; channel < 3; channel++) flat[at * 3 + channel] = EmojiFont.OverWhite(rgba[at * 4 + channel], rgba[at * 4 + 3]);
        }
        return new Picture(Picture.IconSide, Lanczos.Shrink(flat, Drawn, 0, 0, Drawn, Picture.IconSide));
    }
}

/// <summary>Files of this folder that the programs carry with them.</summary>
internal static class OwnFiles
{
    /// <summary>The text of one.</summary>
    public static string Text(string name)
    {
        using var stream = typeof(OwnFiles).Assembly.GetManifestResourceStream(name) ?? throw new InvalidOperationException($"{name} is not embedded");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
