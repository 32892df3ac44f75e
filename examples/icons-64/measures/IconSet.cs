using LowRank.Images;

namespace LowRank.Examples.Icons;

/// <summary>A picture of the prepared data.</summary>
/// <param name="Name">Of its file, without the ending.</param>
/// <param name="Caption">The first line of its caption file.</param>
/// <param name="Image">Its pixels.</param>
internal sealed record Icon(string Name, string Caption, RgbImage Image);

/// <summary>What a base is measured with: the folders that prepare.cs makes.</summary>
/// <param name="Plain">All emoji as they are, in the order of the list, held-out ones among them.</param>
/// <param name="Tango">The Tango icons.</param>
/// <param name="HeldOutEmoji">Emoji that no training saw.</param>
/// <param name="HeldOutColours">Combinations of things and colours that no training saw.</param>
/// <param name="Recalled">Captions of emoji that are drawn and looked for among <paramref name="Plain"/>.</param>
internal sealed record IconSet(IReadOnlyList<Icon> Plain, IReadOnlyList<Icon> Tango, IReadOnlyList<Icon> HeldOutEmoji, IReadOnlyList<Icon> HeldOutColours, IReadOnlyList<string> Recalled)
{
    /// <summary>Reads them.</summary>
    /// <exception cref="IconDataException">They are not there, or not whole.</exception>
    public static IconSet Read(string folder)
    {
        var captions = Path.Combine(folder, "recalled.txt");
        if (!File.Exists(captions)) throw new IconDataException($"no prepared pictures: {folder}\n  make them first: dotnet run -c Release examples/icons-64/prepare.cs -- --output {folder}");
        var heldOut = ReadFolder(Path.Combine(folder, "held-out", "emoji"));
        List<Icon> plain = [.. Directory.GetDirectories(Path.Combine(folder, "plain")).SelectMany(ReadFolder).Concat(heldOut).OrderBy(icon => icon.Name, StringComparer.Ordinal)];
        var set = new IconSet(plain, ReadFolder(Path.Combine(folder, "tango")), heldOut, ReadFolder(Path.Combine(folder, "held-out", "colours")), File.ReadAllLines(captions));
        var unknown = set.Recalled.Except(plain.Select(icon => icon.Caption)).ToList();
        return unknown.Count == 0 ? set : throw new IconDataException($"the prepared pictures are not whole: {folder}\n  none has the caption \"{unknown[0]}\", which recalled.txt asks for; make them anew");
    }

    private static List<Icon> ReadFolder(string folder) =>
        [.. Directory.GetFiles(folder, "*.png").Order(StringComparer.Ordinal).Select(file => new Icon(Path.GetFileNameWithoutExtension(file), File.ReadLines(Path.ChangeExtension(file, "txt")).First(), ImageFile.Read(file)))];
}
