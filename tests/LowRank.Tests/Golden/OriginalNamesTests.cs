using LowRank.Families.Original;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>The names of the original layout, for every tensor of the published models.</summary>
public class OriginalNamesTests
{
    public static IEnumerable<TheoryDataRow<string>> Manifests() =>
        PackedFixture.In(OriginalManifest.Folder, "*.json").Select(path => Path.GetFileNameWithoutExtension(path)).Where(name => name.Contains('.', StringComparison.Ordinal)).Order(StringComparer.Ordinal).Select(name => new TheoryDataRow<string>(name));

    public static IEnumerable<TheoryDataRow<string>> CheckpointNames() => GoldenCase.OfKind("checkpoint_names");

    [Theory, MemberData(nameof(Manifests))]
    public void Every_tensor_of_a_published_model_has_its_original_name_and_shape(string manifest)
    {
        var (part, rows) = OriginalManifest.Read(manifest);
        foreach (var row in rows)
        {
            var place = part.Of(row.Key);
            Assert.NotNull(place);
            Assert.Equal((row.Key, row.Original, row.Turn), (row.Key, place.Name, Words(place)));
            Assert.Equal(row.Shape, place.ShapeOf(row.OriginalShape));
        }
    }

    /// <summary>The way back: no two tensors share a place, and thirds are three.</summary>
    [Theory, MemberData(nameof(Manifests))]
    public void Every_original_tensor_is_made_of_whole_tensors(string manifest)
    {
        var (part, rows) = OriginalManifest.Read(manifest);
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
}
