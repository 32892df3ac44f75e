using System.Text;

namespace LowRank.Data;

/// <summary>A picture's caption, or why it has none.</summary>
/// <param name="Lines">Its lines, trimmed, without blank ones; several are alternatives for wildcards.</param>
/// <param name="Problem">Why there is no caption; null where there is one.</param>
internal readonly record struct CaptionFound(IReadOnlyList<string> Lines, string? Problem)
{
    public static CaptionFound Missing(string problem) => new([], problem);
}

/// <summary>Caption files beside pictures: <c>name.txt</c>, else <c>name.caption</c>; tags from <c>name.tags</c> are added behind.</summary>
internal static class CaptionFile
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The endings of caption files.</summary>
    public static IReadOnlyList<string> Endings { get; } = [".txt", ".caption", ".tags"];

    /// <summary>The caption of a picture, or the class words of its folder where it has no file.</summary>
    /// <param name="picture">Path of the picture.</param>
    /// <param name="classWords">Words for pictures without a caption; empty where there are none.</param>
    public static CaptionFound Find(string picture, string classWords)
    {
        var stem = Path.Combine(Path.GetDirectoryName(picture) ?? "", Path.GetFileNameWithoutExtension(picture));
        var candidates = new List<string> { stem };
        var parts = Path.GetFileName(stem).Split('_');
        if (parts.Length >= 5) candidates.Add(Path.Combine(Path.GetDirectoryName(picture) ?? "", string.Join('_', parts[..^4])));   // names that face-cropping tools make
        foreach (var candidate in candidates)
        {
            var caption = FirstExisting(candidate + ".txt", candidate + ".caption");
            var tags = FirstExisting(candidate + ".tags");
            if (caption is null && tags is null) continue;
            return Join(caption is null ? null : Read(caption), tags is null ? null : Read(tags));
        }
        if (classWords.Length > 0) return new CaptionFound([classWords], null);
        var name = Path.GetFileName(stem);
        return CaptionFound.Missing($"no caption: neither {name}.txt nor {name}.caption is there");
    }

    /// <summary>Reads a file's bytes: UTF-8, with or without byte order mark, lines ended by LF, CR or both.</summary>
    /// <param name="content">The bytes.</param>
    /// <param name="name">The file's name, for the problem.</param>
    public static CaptionFound Parse(byte[] content, string name)
    {
        string text;
        try
        {
            text = Strict.GetString(content).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException)
        {
            return CaptionFound.Missing($"caption file {name} is not UTF-8");
        }
        List<string> lines = [.. text.Split('\n', '\r').Select(line => line.Trim()).Where(line => line.Length > 0)];
        return lines.Count > 0 ? new CaptionFound(lines, null) : CaptionFound.Missing($"caption file {name} is empty");
    }

    private static CaptionFound Read(string path) => Parse(File.ReadAllBytes(path), Path.GetFileName(path));

    private static string? FirstExisting(params string[] paths) => paths.FirstOrDefault(File.Exists);

    private static CaptionFound Join(CaptionFound? caption, CaptionFound? tags)
    {
        if (caption is null) return tags!.Value;
        if (tags is null || caption.Value.Problem is not null) return caption.Value;
        if (tags.Value.Problem is not null) return tags.Value;
        var behind = string.Join(", ", tags.Value.Lines);
        return new CaptionFound([.. caption.Value.Lines.Select(line => $"{line}, {behind}")], null);
    }
}
