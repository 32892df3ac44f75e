using System.Text;
using System.Text.Json;
using LowRank.Evaluation;
using LowRank.Images;
using LowRank.Testing;
using NetVips;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>The area <c>evaluation</c> has pictures of every kind; the area <c>models</c> three more with sizes of their own.</summary>
public class ClipPreprocessTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("evaluation/clip_preprocess");

    public static IEnumerable<TheoryDataRow<string>> SizedCases() => GoldenCase.OfKind("models/clip_preprocess");

    [Theory, MemberData(nameof(Cases))]
    public void Pixels_are_exact_and_values_those_of_the_library(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var input = ClipInput.Parse(Encoding.UTF8.GetBytes(golden.Json.GetProperty("config").GetRawText()), "config");
        var pictures = golden.Json.GetProperty("pictures").EnumerateArray().Select(json => (Json: json, Picture: Picture(json))).ToList();
        for (var i = 0; i < pictures.Count; i++)
        {
            AssertPixels(golden, $"pixels.{i}", input.Cut(pictures[i].Picture));
            using var values = golden.Tensor($"values.{i}");
            var within = golden.Json.GetProperty("tolerance").GetProperty("values").GetProperty("atol").GetDouble();
            TensorAssert.Close(values, tensor(input.Planes(pictures[i].Picture), 3, input.Crop, input.Crop), 0, within, $"values.{i}");
        }
        var full = golden.Json.GetProperty("full");
        var whole = ClipInput.Parse(Encoding.UTF8.GetBytes(full.GetProperty("config").GetRawText()), "config");
        AssertPixels(golden, "pixels.full", whole.Cut(Picture(full)));
        var planes = whole.Planes(Picture(full));
        Assert.Equal(full.GetProperty("values_sum").GetDouble(), planes.Sum(value => (double)value), 5e-6 * planes.Length);
        Assert.Equal(full.GetProperty("values_abs_sum").GetDouble(), planes.Sum(value => Math.Abs((double)value)), 5e-6 * planes.Length);
    }

    [Theory, MemberData(nameof(SizedCases))]
    public void Every_size_is_cut_as_the_library_cuts_it(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var computed = new Dictionary<string, Tensor>();
        foreach (var (json, i) in golden.Json.GetProperty("list").EnumerateArray().Select((json, i) => (json, i)))
        {
            int Int(string key) => json.GetProperty(key).GetInt32();
            var pixels = FormulaPicture.Of(json.GetProperty("name").GetString()!, Int("height"), Int("width"), 3, golden.Json.GetProperty("seed").GetInt32());
            var input = new ClipInput { ShortSide = Int("size"), Crop = Int("crop") };
            computed[$"{i}/pixel_values"] = tensor(input.Planes(new RgbImage(new PixelSize(Int("width"), Int("height")), pixels)), 3, input.Crop, input.Crop);
        }
        golden.AssertAllClose(computed);
    }

    private static void AssertPixels(GoldenCase golden, string name, RgbImage picture)
    {
        using var expected = golden.Tensor(name);
        Assert.Equal(expected.shape, new long[] { picture.Size.Height, picture.Size.Width, 3 });
        Assert.Equal(expected.data<byte>().ToArray(), picture.Pixels);
    }

    /// <summary>By way of a file, as people have them: grey is repeated, what is transparent is laid over white.</summary>
    private static RgbImage Picture(JsonElement json)
    {
        int Int(string key) => json.GetProperty(key).GetInt32();
        var pixels = FormulaPicture.Of(json.GetProperty("name").GetString()!, Int("height"), Int("width"), Int("channels"), Int("seed"));
        Assert.Equal(json.GetProperty("sha256").GetString(), FormulaPicture.Sha256(pixels));
        using var raw = Image.NewFromMemory(pixels, Int("width"), Int("height"), Int("channels"), Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Int("channels") == 1 ? Enums.Interpretation.Bw : Enums.Interpretation.Srgb);
        return ImageFile.Decode(image.PngsaveBuffer());
    }
}
