using System.Text.Json;
using LowRank.Families.Original;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>A manifest's row: key, shape, name in the file, and how it lies there.</summary>
internal sealed record OriginalRow(string Key, long[] Shape, string Original, string? Turn)
{
    /// <summary>Its shape in the file.</summary>
    public long[] OriginalShape => Turn switch
    {
        null => Shape,
        "squeeze" => [.. Shape, 1, 1],
        "transpose" => [.. Shape.Reverse()],
        _ => [Shape[0] * 3, .. Shape[1..]],
    };
}

/// <summary>Names and shapes of published models, in the layout of diffusers and in the original one.</summary>
internal static class OriginalManifest
{
    public static readonly string Folder = Path.Combine(GoldenCase.FixturesFolder, "models", "manifests");

    /// <summary>A manifest's names, and its rows with names in full.</summary>
    /// <param name="manifest">FAMILY.PART.</param>
    public static (OriginalPart Part, List<OriginalRow> Rows) Read(string manifest)
    {
        var json = Open(manifest);
        var rows = Rows(json);
        var name = manifest[(manifest.IndexOf('.', StringComparison.Ordinal) + 1)..];
        var prefix = Prefix(json);
        var layout = new[] { OriginalLayout.First, OriginalLayout.Second, OriginalLayout.Xl }.First(layout => layout.Parts.Contains(name) && layout.PrefixOf(name) == prefix);
        return (layout.NamesOf(name, [.. rows.Keys]), [.. rows.Values.Select(row => row with { Original = prefix + row.Original })]);
    }

    private static string Prefix(JsonElement manifest) => manifest.TryGetProperty("original_prefix", out var prefix) ? prefix.GetString()! : Prefix(Open(manifest.GetProperty("same_as").GetString()!));

    private static Dictionary<string, OriginalRow> Rows(JsonElement manifest)
    {
        var rows = manifest.TryGetProperty("same_as", out var other) ? Rows(Open(other.GetString()!)) : [];
        foreach (var item in manifest.TryGetProperty("keys", out var keys) ? keys.EnumerateArray() : default)
        {
            var (key, shape, cells) = (item[0].GetString()!, item[1].EnumerateArray().Select(size => size.GetInt64()).ToArray(), item.GetArrayLength());
            rows[key] = rows.TryGetValue(key, out var known) ? known with { Shape = shape } : new OriginalRow(key, shape, (cells > 2 ? item[2].GetString() : null) ?? key, cells > 3 ? item[3].GetString() : null);
        }
        if (manifest.TryGetProperty("except", out var changed))
        {
            foreach (var item in changed.EnumerateObject()) rows[item.Name] = rows[item.Name] with { Shape = [.. item.Value.EnumerateArray().Select(size => size.GetInt64())] };
        }
        return rows;
    }

    /// <summary>A manifest, or the published files.</summary>
    public static JsonElement Open(string name)
    {
        using var document = JsonDocument.Parse(PackedFixture.ReadAllBytes(Path.Combine(Folder, name + ".json")));
        return document.RootElement.Clone();
    }
}
