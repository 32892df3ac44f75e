using System.Security.Cryptography;
using System.Text.Json;
using LowRank.Examples.Icons;
using LowRank.Testing;
using LowRank.Tests.Examples;

namespace LowRank.Tests.Golden;

/// <summary>
/// Kind <c>datasets</c>: counts and spot checks of the emoji and the Tango icons as examples/icons-64 reads them, where their packages are.
/// Glyph numbers of the font (glyph, distinct_glyphs, bitmaps_in_font) are not looked at: the text engine gives pictures and no numbers.
/// </summary>
public class DatasetsGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("images/datasets");

    [Theory, MemberData(nameof(Cases))]
    public void The_list_of_emoji_has_the_stated_counts(string id)
    {
        using var golden = GoldenCase.Open(id);
        var lines = File.ReadAllLines(IconPackages.Find().Names);
        var stated = golden.Json.GetProperty("emoji");
        var all = Emoji.Read(lines, tones: true);
        var plain = Emoji.Read(lines);
        Assert.Equal(stated.GetProperty("fully_qualified").GetInt32(), all.Count);
        Assert.Equal(stated.GetProperty("without_skin_tone").GetInt32(), plain.Count);
        Assert.Equal(Counts(stated.GetProperty("by_group")), all.CountBy(emoji => emoji.Group).ToDictionary());
        Assert.Equal(Counts(stated.GetProperty("without_skin_tone_by_group")), plain.CountBy(emoji => emoji.Group).ToDictionary());
        Assert.Equal(plain.Count, plain.DistinctBy(emoji => emoji.Caption).Count());
    }

    [Theory, MemberData(nameof(Cases))]
    public void Emoji_come_out_of_the_font_as_stated(string id)
    {
        using var golden = GoldenCase.Open(id);
        var sources = IconPackages.Find();
        var font = new EmojiFont(sources.Font);
        var stated = golden.Json.GetProperty("emoji");
        Assert.Equal((stated.GetProperty("width").GetInt32(), stated.GetProperty("height").GetInt32()), (EmojiFont.Width, EmojiFont.Height));
        Assert.Equal("exact", golden.Json.GetProperty("tolerance").GetProperty("alpha_sha256").GetString());
        var tolerance = golden.Json.GetProperty("tolerance").GetProperty("mean_rgb_over_white").GetDouble();
        var byPoints = Emoji.Read(File.ReadLines(sources.Names), tones: true).ToDictionary(emoji => emoji.CodePoints);
        foreach (var sample in stated.GetProperty("samples").EnumerateArray())
        {
            var points = string.Join(' ', sample.GetProperty("code_points").EnumerateArray().Select(point => point.GetString()!.PadLeft(4, '0')));
            var emoji = byPoints[points];
            Assert.Equal((sample.GetProperty("name").GetString(), sample.GetProperty("group").GetString(), sample.GetProperty("subgroup").GetString()), (emoji.Name, emoji.Group, emoji.Subgroup));
            var bitmap = font.Bitmap(emoji.Sequence, emoji.Name);
            var alpha = Enumerable.Range(0, bitmap.Length / 4).Select(at => bitmap[at * 4 + 3]).ToArray();
            Assert.Equal(sample.GetProperty("alpha_sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(alpha)));
            var means = Enumerable.Range(0, 3).Select(channel => alpha.Select((value, at) => (double)EmojiFont.OverWhite(bitmap[at * 4 + channel], value)).Average());
            AssertMeans(sample.GetProperty("mean_rgb_over_white"), means, tolerance, emoji.Name);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Tango_icons_are_counted_and_drawn_as_stated(string id)
    {
        using var golden = GoldenCase.Open(id);
        var folder = IconPackages.Find().Tango;
        var stated = golden.Json.GetProperty("tango");
        var files = Directory.GetFiles(folder, "*.svg", SearchOption.AllDirectories);
        Assert.Equal((stated.GetProperty("svg_files").GetInt32(), stated.GetProperty("links").GetInt32()), (files.Length, files.Count(file => new FileInfo(file).LinkTarget is not null)));
        var icons = TangoIcons.Read(folder).ToDictionary(icon => icon.Name, icon => icon.Picture);
        Assert.Equal(stated.GetProperty("pictures").GetInt32(), icons.Count);
        Assert.Equal(Counts(stated.GetProperty("by_category")), icons.Keys.CountBy(name => name.Split('_')[0]).ToDictionary());
        var tolerance = golden.Json.GetProperty("tolerance").GetProperty("mean_rgb_over_white_at_64").GetDouble();
        foreach (var sample in stated.GetProperty("samples").EnumerateArray())
        {
            var picture = icons[sample.GetProperty("icon").GetString()!.Replace('/', '_')];
            Assert.Equal((sample.GetProperty("width").GetInt32(), sample.GetProperty("height").GetInt32()), (picture.Side, picture.Side));
            var means = Enumerable.Range(0, 3).Select(channel => Enumerable.Range(0, picture.Side * picture.Side).Average(at => (double)picture.Pixels[at * 3 + channel]));
            AssertMeans(sample.GetProperty("mean_rgb_over_white_at_64"), means, tolerance, sample.GetProperty("icon").GetString()!);
        }
    }

    private static Dictionary<string, int> Counts(JsonElement stated) => stated.EnumerateObject().ToDictionary(item => item.Name, item => item.Value.GetInt32());

    private static void AssertMeans(JsonElement stated, IEnumerable<double> computed, double tolerance, string name)
    {
        foreach (var (expected, actual) in stated.EnumerateArray().Select(value => value.GetDouble()).Zip(computed))
        {
            Assert.True(Math.Abs(expected - actual) <= tolerance, FormattableString.Invariant($"{name}: mean {actual:F3}, expected {expected:F3} within {tolerance}"));
        }
    }
}
