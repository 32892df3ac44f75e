using System.Text;
using LowRank.Foundation;

namespace LowRank.Data;

/// <summary>What became of a caption that was to be written.</summary>
/// <param name="Path">The file.</param>
/// <param name="Text">All of its text; null where nothing is to be written.</param>
/// <param name="Reason">Why not; null where it is.</param>
/// <param name="NothingNew">Whether that is because the file says all of it already.</param>
internal readonly record struct CaptionWritten(string Path, string? Text, string? Reason, bool NothingNew = false);

/// <summary>Writes captions beside pictures, into the file that training reads; what is there stays unless the user says otherwise.</summary>
internal sealed record CaptionWriter
{
    /// <summary>Why a picture whose caption is kept is left out.</summary>
    public const string IsThere = "it has a caption already";

    public required bool Overwrite { get; init; }
    public required bool Append { get; init; }

    /// <summary>Put in front; empty for none.</summary>
    public required string Trigger { get; init; }

    /// <summary>Writes nothing.</summary>
    public required bool DryRun { get; init; }

    /// <summary>Whether a picture's caption is there and has to stay as it is, so that nobody needs to work one out.</summary>
    public bool Keeps(PictureFile picture) => !Overwrite && !Append && File.Exists(PathFor(picture));

    /// <summary>Writes a caption.</summary>
    /// <param name="picture">Whose.</param>
    /// <param name="items">Tags, or a text as the only one; they are joined by a comma and a space.</param>
    public CaptionWritten Write(PictureFile picture, IReadOnlyList<string> items)
    {
        var path = PathFor(picture);
        if (items.Count == 0 && Trigger.Length == 0) return new(path, null, "nothing to say of it");
        string text;
        if (Append && File.Exists(path))
        {
            var content = File.ReadAllBytes(path);
            var found = CaptionFile.Parse(content, Path.GetFileName(path));
            if (found.Problem is not null && content.Length > 0) return new(path, null, found.Problem);
            var lines = found.Problem is null ? found.Lines : [""];
            text = string.Join('\n', lines.Select(line => Added(line, items)));
            if (found.Problem is null && text == string.Join('\n', lines)) return new(path, null, "its caption says all of it already", NothingNew: true);
        }
        else text = Added("", items);
        if (!DryRun) WholeFile.Write(path, Encoding.UTF8.GetBytes(text + "\n"));
        return new(path, text, null);
    }

    /// <summary>What is not yet there: the trigger in front, the rest behind.</summary>
    private string Added(string line, IReadOnlyList<string> items)
    {
        var there = line.Split(',').Select(item => item.Trim()).Where(item => item.Length > 0).ToHashSet(StringComparer.OrdinalIgnoreCase);
        var parts = new List<string>();
        if (Trigger.Length > 0 && !there.Contains(Trigger)) parts.Add(Trigger);
        if (line.Length > 0) parts.Add(line);
        parts.AddRange(items.Where(item => !IsThere(item)));
        return string.Join(", ", parts);

        bool IsThere(string item) => there.Contains(item) || (item.Contains(',', StringComparison.Ordinal) && line.Contains(item, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>The file that training reads: name.txt, or name.caption where only that is there.</summary>
    private static string PathFor(PictureFile picture) => !File.Exists(picture.Stem + ".txt") && File.Exists(picture.Stem + ".caption") ? picture.Stem + ".caption" : picture.Stem + ".txt";
}
