using System.Text.Json;
using LowRank.Foundation;
using LowRank.Images;

namespace LowRank.Data;

/// <summary>What a metadata file says about one picture.</summary>
/// <param name="Image">The picture's key: a path, absolute or relative to the folder, with or without ending.</param>
/// <param name="Caption">Caption and tags joined; empty where there is neither. Several lines are alternatives for wildcards.</param>
/// <param name="Size">The size it notes, or null. For information: the files' own sizes count.</param>
/// <param name="Tags">Its tags as they were joined, or null.</param>
internal sealed record MetadataEntry(string Image, string Caption, PixelSize? Size, string? Tags);

/// <summary>
/// Captions of many pictures in one file. JSON Lines: an object a line with <c>file_name</c> and <c>text</c> (Hugging Face datasets) or
/// <c>image_path</c> and <c>caption</c> (sd-scripts). JSON: one object, keyed by picture. Both may have <c>tags</c> and <c>image_size</c>.
/// </summary>
internal static class CaptionMetadata
{
    /// <summary>The files looked for in a folder, in this order.</summary>
    public static IReadOnlyList<string> FileNames { get; } = ["metadata.jsonl", "metadata.json"];

    /// <summary>Reads a file.</summary>
    /// <param name="path">A path ending in .jsonl or .json.</param>
    /// <param name="separator">What stands between caption and tags.</param>
    /// <param name="wildcards">Whether the lines of a caption are alternatives: then each gets the tags, and an entry without a caption loses them.</param>
    /// <returns>Entries, longest key first, as sd-scripts registers them (library/train_util.py, <c>FineTuningDataset</c>).</returns>
    /// <exception cref="DatasetException">The file is not of this form; the message names it and the line or key.</exception>
    public static IReadOnlyList<MetadataEntry> Read(string path, string separator, bool wildcards)
    {
        var raw = new Dictionary<string, JsonElement>(StringComparer.Ordinal);   // the last of equal keys counts
        if (path.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase)) ReadLines(path, raw);
        else ReadObject(path, raw);
        return [.. raw.Select(item => Entry(path, item.Key, item.Value, separator, wildcards)).OrderByDescending(entry => entry.Image.Length)];
    }

    private static void ReadLines(string path, Dictionary<string, JsonElement> raw)
    {
        var number = 0;
        foreach (var line in File.ReadLines(path))
        {
            number++;
            if (string.IsNullOrWhiteSpace(line)) continue;
            var item = Parse(line, $"{path}, line {number}");
            var key = Text(item, "file_name") ?? Text(item, "image_path")
                ?? throw new DatasetException($"metadata without a picture: {path}, line {number}\n  an object with file_name (or image_path) is expected");
            raw[key] = item;
        }
    }

    private static void ReadObject(string path, Dictionary<string, JsonElement> raw)
    {
        foreach (var item in Parse(File.ReadAllText(path), path).EnumerateObject())
        {
            if (item.Value.ValueKind != JsonValueKind.Object) throw new DatasetException($"metadata of a picture is no object: {path}, key {item.Name}");
            raw[item.Name] = item.Value;
        }
    }

    private static JsonElement Parse(string json, string where)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            if (document.RootElement.ValueKind == JsonValueKind.Object) return document.RootElement.Clone();
        }
        catch (JsonException error)
        {
            throw new DatasetException($"metadata is not JSON: {where}\n  {error.Message}", error);
        }
        throw new DatasetException($"metadata is not a JSON object: {where}");
    }

    private static MetadataEntry Entry(string path, string key, JsonElement item, string separator, bool wildcards)
    {
        var caption = Text(item, "text") ?? Text(item, "caption") ?? "";
        var tags = Text(item, "tags");
        if (tags is not null && wildcards)
        {
            tags = tags.Replace("\n", separator, StringComparison.Ordinal);
            caption = string.Join('\n', caption.Split('\n').Where(line => line.Trim().Length > 0).Select(line => line + separator + tags));
        }
        else if (tags is { Length: > 0 })
        {
            caption = caption.Length > 0 ? caption + separator + tags : tags;
        }
        return new MetadataEntry(key, caption, Size(path, key, item), tags);
    }

    private static PixelSize? Size(string path, string key, JsonElement item)
    {
        if (!item.TryGetProperty("image_size", out var size) || size.ValueKind == JsonValueKind.Null) return null;
        if (size.ValueKind == JsonValueKind.Array && size.GetArrayLength() == 2 && size[0].TryGetInt32(out var width) && size[1].TryGetInt32(out var height)) return new PixelSize(width, height);
        throw new DatasetException($"image_size is not [width, height]: {path}, picture {key}");
    }

    private static string? Text(JsonElement item, string key) => item.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
