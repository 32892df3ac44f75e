using System.Text.Json;

namespace LowRank.Examples.Icons;

/// <summary>Everything that the base is trained and measured on, as folders of pictures with captions.</summary>
internal sealed class IconData : IDisposable
{
    private readonly string output;
    private readonly SortedDictionary<string, PictureFolder> folders = new(StringComparer.Ordinal);
    private readonly IReadOnlyList<Emoji> all;
    private readonly IReadOnlySet<int> heldOut;
    private readonly HashSet<string> heldOutCaptions;
    private readonly List<(string Name, Picture Picture, string Caption)> unseenColours = [];
    private readonly List<IReadOnlyList<Picture?>> variantSheet = [];

    private IconData(string output, IReadOnlyList<Emoji> all)
    {
        (this.output, this.all) = (output, all);
        heldOut = HeldOut.Emoji(all);
        heldOutCaptions = all.Where(emoji => heldOut.Contains(emoji.Index)).Select(emoji => emoji.Caption).ToHashSet(StringComparer.Ordinal);
    }

    /// <summary>Makes the folders, sheets to look at, counts and checksums (data.json), the captions to measure a base with (recalled.txt), and the note about rights.</summary>
    /// <param name="sources">The packages' files.</param>
    /// <param name="output">Made when absent; must be empty.</param>
    /// <param name="anyVersion">See <see cref="Sources.Require"/>.</param>
    /// <returns>The folders with their counts and checksums, as written to data.json.</returns>
    /// <exception cref="IconDataException">Packages are missing or differ, or the folder holds something.</exception>
    public static IReadOnlyList<FolderFacts> Write(Sources sources, string output, bool anyVersion)
    {
        sources.Require(anyVersion);
        if (Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any()) throw new IconDataException($"the folder is not empty: {output}\n  name another one, or delete it first");
        using var data = new IconData(output, Emoji.Read(File.ReadLines(sources.Names)));
        var font = new EmojiFont(sources.Font);
        var plain = new List<Picture?>();
        foreach (var emoji in data.all)
        {
            var canvas = font.OnWhite(emoji);
            var picture = new Picture(Picture.IconSide, Lanczos.Shrink(canvas, EmojiFont.Canvas, 0, 0, EmojiFont.Canvas, Picture.IconSide));
            plain.Add(picture);
            if (!data.heldOut.Contains(emoji.Index)) data.AddVariants(emoji, canvas, picture);
        }
        data.AddUnseenEmoji(plain);
        data.AddUnseenColours();
        foreach (var (name, caption, picture) in TangoIcons.Read(sources.Tango)) data.Folder("tango").Add(name, picture, caption, phrased: false);
        data.RequireUnseenPairs();
        File.WriteAllLines(Path.Combine(output, "recalled.txt"), HeldOut.Recalled(data.all).Select(emoji => emoji.Caption));
        Picture.WriteSheet(Path.Combine(output, "sheet-plain.png"), [.. plain.Chunk(44)]);
        Picture.WriteSheet(Path.Combine(output, "sheet-variants.png"), data.variantSheet);
        File.WriteAllText(Path.Combine(output, "LICENSE-NOTE.md"), OwnFiles.Text("LICENSE-NOTE.md"));
        return data.WriteFacts(sources);
    }

    /// <summary>An emoji that is trained on: as it is, jittered, and in other colours.</summary>
    private void AddVariants(Emoji emoji, byte[] canvas, Picture picture)
    {
        var row = new List<Picture?> { picture };
        var plainName = PictureFolder.FileName(emoji.Index, emoji.Caption);
        Folder($"plain/{Kind(emoji)}").Add(plainName, picture, emoji.Caption);
        for (var variant = 1; variant <= Jitter.Variants; variant++)
        {
            row.Add(Jitter.Of(emoji, canvas, variant));
            Folder($"jittered/{Kind(emoji)}").Add($"{plainName}_{variant}", row[^1]!, emoji.Caption);
        }
        var pixels = Hsv.Of(picture);
        var paint = Recolouring.Suits(emoji) ? Recolouring.PaintOf(pixels) : null;
        for (var colour = 0; paint is not null && colour < Recolouring.Targets.Count; colour++)
        {
            var caption = Recolouring.Caption(emoji.Caption, Recolouring.Targets[colour]);
            var painted = Recolouring.Apply(picture, pixels, paint, Recolouring.Targets[colour]);
            row.Add(painted);
            var name = PictureFolder.FileName(emoji.Index, caption);
            if (HeldOut.Colour(emoji, colour, caption)) unseenColours.Add((name, painted, caption));
            else if (!heldOutCaptions.Contains(caption)) Folder("recoloured").Add(name, painted, caption);
        }
        if (emoji.Index % 38 == 0) variantSheet.Add(row);
    }

    /// <summary>The folder of an emoji within a set: kinds that a recipe weighs differently.</summary>
    private static string Kind(Emoji emoji) => emoji switch
    {
        { Subgroup: "country-flag" } => "flags",
        { Subgroup: "family" } => "families",
        { Group: "People & Body" } => "people",
        _ => "things",
    };

    private PictureFolder Folder(string name)
    {
        if (!folders.TryGetValue(name, out var folder)) folders[name] = folder = new PictureFolder(output, name);
        return folder;
    }

    /// <summary>Emoji to measure with: the held-out ones, without flags of islands that fly the flag of a land that is trained on.</summary>
    private void AddUnseenEmoji(List<Picture?> plain)
    {
        var trained = all.Where(emoji => !heldOut.Contains(emoji.Index)).Select(emoji => Convert.ToBase64String(plain[emoji.Index]!.Pixels)).ToHashSet(StringComparer.Ordinal);
        foreach (var emoji in all.Where(emoji => heldOut.Contains(emoji.Index) && !trained.Contains(Convert.ToBase64String(plain[emoji.Index]!.Pixels))))
        {
            Folder("held-out/emoji").Add(PictureFolder.FileName(emoji.Index, emoji.Caption), plain[emoji.Index]!, emoji.Caption);
        }
    }

    /// <summary>Colourings to measure with: those whose caption no training picture has, neither an emoji of that name nor another one painted.</summary>
    private void AddUnseenColours()
    {
        var trained = Trained().ToHashSet(StringComparer.Ordinal);
        foreach (var (name, picture, caption) in unseenColours.Where(one => HeldOut.IsMeasured(one.Caption) && !trained.Contains(one.Caption)))
        {
            Folder("held-out/colours").Add(name, picture, caption);
        }
    }

    /// <summary>By the finished captions: no combination that a base is tested on, and no held-out emoji, is trained.</summary>
    private void RequireUnseenPairs()
    {
        var leaks = Trained().Where(caption => heldOutCaptions.Contains(caption) || HeldOut.ColourPairs.Any(pair => pair.Holds(caption))).ToList();
        if (leaks.Count > 0) throw new IconDataException($"{leaks.Count} captions of training pictures are held out: {string.Join(", ", leaks.Take(5))}");
    }

    /// <summary>The captions of all training pictures.</summary>
    private IEnumerable<string> Trained() =>
        folders.Values.Where(folder => folder.Name != "tango" && !folder.Name.StartsWith("held-out/", StringComparison.Ordinal)).SelectMany(folder => folder.Captions);

    private List<FolderFacts> WriteFacts(Sources sources)
    {
        List<FolderFacts> facts = [.. folders.Values.Select(folder => new FolderFacts(folder.Name, folder.Count, folder.Checksum))];
        var json = JsonSerializer.Serialize(new DataFacts(Sources.Checksum(sources.Font), Sources.Checksum(sources.Names), facts.Sum(folder => folder.Pictures), facts), FactsJson.Default.DataFacts);
        File.WriteAllText(Path.Combine(output, "data.json"), json + "\n");
        return facts;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var folder in folders.Values) folder.Dispose();
    }
}
