using System.Globalization;
using LowRank.Evaluation;
using LowRank.Images;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Two pictures against each other: hashes, SSIM, PSNR.</summary>
public class PictureComparisonGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Hashes() => GoldenCase.OfKind("hashes");
    public static IEnumerable<TheoryDataRow<string>> Similarity() => GoldenCase.OfKind("ssim_psnr");

    [Theory, MemberData(nameof(Hashes))]
    public void Hashes_and_what_goes_before_their_bits_are_those_of_the_library(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var item in golden.Json.GetProperty("pictures").EnumerateArray())
        {
            var name = item.GetProperty("name").GetString()!;
            var picture = Picture(golden, $"{name}.rgb");
            Assert.Equal(item.GetProperty("sha256").GetString(), FormulaPicture.Sha256(picture.Pixels));
            Assert.Equal((item.GetProperty("width").GetInt32(), item.GetProperty("height").GetInt32()), (picture.Size.Width, picture.Size.Height));

            using var narrow = golden.Tensor($"{name}.grid9x8");
            using var wide = golden.Tensor($"{name}.grid32x32");
            using var low = golden.Tensor($"{name}.low");
            Assert.Equal(narrow.data<byte>().ToArray(), PerceptualHashes.Grid(picture, new PixelSize(9, 8)));
            Assert.Equal(wide.data<byte>().ToArray(), PerceptualHashes.Grid(picture, new PixelSize(32, 32)));
            using var waves = tensor(PerceptualHashes.SlowWaves(wide.data<byte>().ToArray()), low.shape);
            TensorAssert.Close(low, waves, rtol: 1e-9, atol: 1e-7, $"{name}.low");   // float64 sums in another order; the nearest bit is 4.7 away

            Assert.Equal(item.GetProperty("dhash").GetString(), Hex(PerceptualHashes.Difference(picture)));
            Assert.Equal(item.GetProperty("phash").GetString(), Hex(PerceptualHashes.Perceptual(picture)));
            Assert.Equal(item.GetProperty("ahash").GetString(), Hex(PerceptualHashes.Average(picture)));
        }
    }

    [Theory, MemberData(nameof(Hashes))]
    public void Distances_of_hashes_are_those_of_the_library(string id)
    {
        using var golden = GoldenCase.Open(id);
        var pictures = golden.Json.GetProperty("order").EnumerateArray().Select(name => Picture(golden, $"{name.GetString()}.rgb")).ToList();
        var known = new Dictionary<string, Func<RgbImage, ulong>> { ["dhash"] = PerceptualHashes.Difference, ["phash"] = PerceptualHashes.Perceptual, ["ahash"] = PerceptualHashes.Average };
        foreach (var table in golden.Json.GetProperty("hamming").EnumerateObject())
        {
            var hashes = pictures.Select(known[table.Name]).ToList();
            for (var i = 0; i < hashes.Count; i++) Assert.Equal(table.Value[i].EnumerateArray().Select(value => value.GetInt32()), hashes.Select(hash => PerceptualHashes.Distance(hashes[i], hash)));
        }
    }

    [Theory, MemberData(nameof(Similarity))]
    public void Structural_similarity_and_noise_ratio_are_those_of_the_libraries(string id)
    {
        using var golden = GoldenCase.Open(id);
        var (json, expected) = (golden.Json.GetProperty("first"), golden.Json.GetProperty("expected"));
        var size = new PixelSize(json.GetProperty("width").GetInt32(), json.GetProperty("height").GetInt32());
        var first = new RgbImage(size, FormulaPicture.Of(json.GetProperty("name").GetString()!, size.Height, size.Width, 3, json.GetProperty("seed").GetInt32()));
        Assert.Equal(json.GetProperty("sha256").GetString(), FormulaPicture.Sha256(first.Pixels));
        var second = Picture(golden, "second");

        golden.AssertNumber(expected.GetProperty("uniform7_first_channel"), StructuralSimilarity.PerChannel(first, second, SimilarityWindow.Uniform)[0], "uniform7_first_channel");
        golden.AssertNumber(expected.GetProperty("gaussian11_first_channel"), StructuralSimilarity.PerChannel(first, second, SimilarityWindow.Gaussian)[0], "gaussian11_first_channel");
        golden.AssertNumber(expected.GetProperty("gaussian11_colour"), StructuralSimilarity.Of(first, second), "gaussian11_colour");
        golden.AssertNumber(expected.GetProperty("psnr"), StructuralSimilarity.PeakSignalToNoise(first, second), "psnr");
        golden.AssertNumber(expected.GetProperty("mse"), StructuralSimilarity.MeanSquare(first, second), "mse");
        Assert.Equal("infinity", expected.GetProperty("identical_psnr").GetString());
        Assert.Equal(double.PositiveInfinity, StructuralSimilarity.PeakSignalToNoise(first, first));
        Assert.Equal(1, StructuralSimilarity.Of(first, first), 1e-12);
    }

    private static RgbImage Picture(GoldenCase golden, string name)
    {
        using var stored = golden.Tensor(name);   // (height, width, 3)
        return new RgbImage(new PixelSize((int)stored.size(1), (int)stored.size(0)), stored.data<byte>().ToArray());
    }

    private static string Hex(ulong hash) => hash.ToString("x16", CultureInfo.InvariantCulture);
}
