namespace LowRank.Examples.Icons;

/// <summary>Everything that the base is trained and measured on, as folders of pictures with captions.</summary>
internal static class IconData
{
    /// <summary>Makes the folders.</summary>
    /// <param name="sources">The packages' files.</param>
    /// <param name="output">Made when absent; must be empty.</param>
    /// <param name="anyVersion">See <see cref="Sources.Require"/>.</param>
    /// <param name="tell">Hears a line about each part.</param>
    /// <exception cref="IconDataException">Packages are missing or differ, or the folder holds something.</exception>
    public static void Write(Sources sources, string output, bool anyVersion, Action<string> tell)
    {
        sources.Require(anyVersion);
        if (Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any()) throw new IconDataException($"the folder is not empty: {output}\n  name another one, or delete it first");
        var emoji = Emoji.Read(File.ReadLines(sources.Names));
        var font = new EmojiFont(sources.Font);
        var heldOut = HeldOut.Emoji(emoji);
        foreach (var one in emoji)
        {
            var plain = new Picture(Picture.IconSide, Lanczos.Shrink(font.OnWhite(one), EmojiFont.Canvas, 0, 0, EmojiFont.Canvas, Picture.IconSide));
            PictureFolder.Add(Path.Combine(output, heldOut.Contains(one.Index) ? "held-out/emoji" : Path.Combine("plain", Kind(one))), PictureFolder.FileName(one.Index, one.Caption), plain, PictureFolder.Lines(one.Caption));
        }
        tell($"{emoji.Count} emoji, {heldOut.Count} of them held out: " + string.Join(", ", emoji.Where(one => heldOut.Contains(one.Index)).Select(one => one.Caption)));
    }

    /// <summary>The folder of an emoji within a set: kinds that a recipe should be able to weigh differently.</summary>
    private static string Kind(Emoji one) => one switch
    {
        { Subgroup: "country-flag" } => "flags",
        { Subgroup: "family" } => "families",
        { Group: "People & Body" } => "people",
        _ => "things",
    };
}
