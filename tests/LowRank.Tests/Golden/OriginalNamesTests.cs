using System.Text.Json;
using LowRank.Families.Original;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>The names of the original layout, for every tensor of the published models.</summary>
public class OriginalNamesTests
{
    private static readonly string Folder = Path.Combine(GoldenCase.FixturesFolder, "models", "manifests");

    /// <summary>A manifest's row: key, shape, name in the file, and how it lies there.</summary>
    private sealed record Row(string Key, long[] Shape, string Original, string? Turn);

    public static IEnumerable<TheoryDataRow<string>> Manifests() =>
        PackedFixture.In(Folder, "*.json").Select(path => Path.GetFileNameWithoutExtension(path)).Where(name => name.Contains('.', StringComparison.Ordinal)).Order(StringComparer.Ordinal).Select(name => new TheoryDataRow<string>(name));

    public static IEnumerable<TheoryDataRow<string>> CheckpointNames() => GoldenCase.OfKind("checkpoint_names");

    [Theory, MemberData(nameof(Manifests))]
    public void Every_tensor_of_a_published_model_has_its_original_name_and_shape(string manifest)
    {
        var (part, rows) = Read(manifest);
        foreach (var row in rows)
        {
            var place = part.Of(row.Key);
            Assert.NotNull(place);
            Assert.Equal((row.Key, row.Original, row.Turn), (row.Key, place.Name, Words(place)));
            Assert.Equal(row.Shape, place.ShapeOf(OriginalShape(row)));
        }
    }

    /// <summary>The way back: no two tensors share a place, and thirds are three.</summary>
    [Theory, MemberData(nameof(Manifests))]
    public void Every_original_tensor_is_made_of_whole_tensors(string manifest)
    {
        var (part, rows) = Read(manifest);
        foreach (var group in rows.Select(row => part.Of(row.Key)!).GroupBy(place => place.Name))
        {
            var indices = group.Select(place => place.Index).Order();
            Assert.Equal(group.First().Turn == Turn.Third ? [0, 1, 2] : [0], indices);
        }
    }

    [Theory, MemberData(nameof(CheckpointNames))]
    public void Names_are_those_that_the_2022_package_wrote(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var component in (string[])["unet", "vae"])
        {
            var rows = golden.Json.GetProperty(component).EnumerateArray().ToList();
            Assert.Equal(golden.Json.GetProperty("counts").GetProperty(component).GetInt32(), rows.Count);
            // its source names the autoencoder's attention as files of before 2023 do
            var keys = rows.ToDictionary(row => LowRank.Models.AutoencoderKL.PresentKey(row[0].GetString()!));
            var part = OriginalLayout.First.NamesOf(component, keys.Keys);
            foreach (var (key, row) in keys)
            {
                var turned = row.GetArrayLength() > 2 && row[2].GetInt32() == 1;
                Assert.Equal(new OriginalTensor(row[1].GetString()!, turned ? Turn.Convolution : Turn.None), part.Of(key));
            }
        }
    }

    private static string? Words(OriginalTensor place) => place.Turn switch
    {
        Turn.Convolution => "squeeze",
        Turn.Third => $"third {place.Index}",
        Turn.Transposed => "transpose",
        _ => null,
    };

    private static long[] OriginalShape(Row row) => row.Turn switch
    {
        null => row.Shape,
        "squeeze" => [.. row.Shape, 1, 1],
        "transpose" => [.. row.Shape.Reverse()],
        _ => [row.Shape[0] * 3, .. row.Shape[1..]],
    };

    private static (OriginalPart Part, List<Row> Rows) Read(string manifest)
    {
        var json = Open(manifest);
        var rows = Rows(json);
        var name = manifest[(manifest.IndexOf('.', StringComparison.Ordinal) + 1)..];
        var prefix = Prefix(json);
        var layout = new[] { OriginalLayout.First, OriginalLayout.Second, OriginalLayout.Xl }.First(layout => layout.Parts.Contains(name) && layout.PrefixOf(name) == prefix);
        return (layout.NamesOf(name, [.. rows.Keys]), [.. rows.Values.Select(row => row with { Original = prefix + row.Original })]);
    }

    private static string Prefix(JsonElement manifest) => manifest.TryGetProperty("original_prefix", out var prefix) ? prefix.GetString()! : Prefix(Open(manifest.GetProperty("same_as").GetString()!));

    private static Dictionary<string, Row> Rows(JsonElement manifest)
    {
        var rows = manifest.TryGetProperty("same_as", out var other) ? Rows(Open(other.GetString()!)) : [];
        foreach (var item in manifest.TryGetProperty("keys", out var keys) ? keys.EnumerateArray() : default)
        {
            var (key, shape, cells) = (item[0].GetString()!, item[1].EnumerateArray().Select(size => size.GetInt64()).ToArray(), item.GetArrayLength());
            rows[key] = rows.TryGetValue(key, out var known) ? known with { Shape = shape } : new Row(key, shape, (cells > 2 ? item[2].GetString() : null) ?? key, cells > 3 ? item[3].GetString() : null);
        }
        if (manifest.TryGetProperty("except", out var changed))
        {
            foreach (var item in changed.EnumerateObject()) rows[item.Name] = rows[item.Name] with { Shape = [.. item.Value.EnumerateArray().Select(size => size.GetInt64())] };
        }
        return rows;
    }

    private static JsonElement Open(string name)
    {
        using var document = JsonDocument.Parse(PackedFixture.ReadAllBytes(Path.Combine(Folder, name + ".json")));
        return document.RootElement.Clone();
    }
}
