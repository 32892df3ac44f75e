using System.Text.Json;
using LowRank.Data;
using LowRank.Images;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>Kind <c>buckets</c>: lists, choices, crops and SDXL's six numbers.</summary>
public class BucketsTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("buckets");

    [Theory, MemberData(nameof(Cases))]
    public void Lists_choices_crops_and_six_numbers_are_the_same(string id)
    {
        using var golden = GoldenCase.Open(id);
        Assert.Equal("exact", golden.Json.GetProperty("tolerance").GetString());
        foreach (var config in golden.Json.GetProperty("configs").EnumerateArray())
        {
            foreach (var enlarge in new[] { true, false })
            {
                var buckets = Open(config, enlarge);
                Assert.Equal(config.GetProperty("adjusted_min").GetInt32(), buckets.Min);
                Assert.Equal(config.GetProperty("adjusted_max").GetInt32(), buckets.Max);
                Assert.Equal(config.GetProperty("buckets").EnumerateArray().Select(Size), buckets.Sizes);
                Assert.Equal(config.GetProperty("count").GetInt32(), buckets.Sizes.Count);
                if (!config.TryGetProperty(enlarge ? "select" : "select_no_upscale", out var rows) || rows.ValueKind == JsonValueKind.False) continue;
                foreach (var row in rows.EnumerateArray()) AssertRow(row, buckets, full: true);
            }
        }
        foreach (var property in golden.Json.EnumerateObject().Where(property => property.Name.StartsWith("bucketing_off_", StringComparison.Ordinal)))
        {
            var side = int.Parse(property.Name["bucketing_off_".Length..], System.Globalization.CultureInfo.InvariantCulture);
            foreach (var row in property.Value.EnumerateArray()) AssertRow(row, AspectBuckets.Single(new PixelSize(side, side)), full: false);
        }
    }

    private static AspectBuckets Open(JsonElement config, bool enlarge) =>
        new(Size(config.GetProperty("resolution")), config.GetProperty("min").GetInt32(), config.GetProperty("max").GetInt32(), config.GetProperty("steps").GetInt32(), enlarge);

    private static void AssertRow(JsonElement row, AspectBuckets buckets, bool full)
    {
        int At(int index) => row[index].GetInt32();
        var picture = new PixelSize(At(0), At(1));
        var choice = buckets.Select(picture);
        if (row[2].ValueKind == JsonValueKind.String)
        {
            Assert.Equal("too small", row[2].GetString());
            Assert.Null(choice);
            return;
        }
        Assert.NotNull(choice);
        Assert.Equal((picture, new PixelSize(At(2), At(3)), new PixelSize(At(4), At(5))), (picture, choice.Value.Bucket, choice.Value.Resized));
        Assert.Equal((At(6), At(7)), choice.Value.CentreCrop);
        Assert.Equal(full ? 10 : 8, row.GetArrayLength());
        if (!full) return;
        var numbers = row[8].EnumerateArray().Select(value => value.GetInt64()).ToArray();
        Assert.Equal(numbers, AspectBuckets.SizeConditioning(choice.Value.Bucket, picture, flip: false));
        numbers[3] = row[9].GetInt64();
        Assert.Equal(numbers, AspectBuckets.SizeConditioning(choice.Value.Bucket, picture, flip: true));
    }

    private static PixelSize Size(JsonElement pair) => new(pair[0].GetInt32(), pair[1].GetInt32());
}
