using System.Text.Json;
using LowRank.Images;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>Kind <c>decode</c>: small files of every format, and broken ones.</summary>
public class DecodeTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("decode");

    [Theory, MemberData(nameof(Cases))]
    public void Every_file_gives_its_pixels_or_its_error(string id)
    {
        using var golden = GoldenCase.Open(id);
        var failures = new List<string>();
        foreach (var file in golden.Json.GetProperty("files").EnumerateArray())
        {
            var name = file.GetProperty("file").GetString()!;
            var content = File.ReadAllBytes(Path.Combine(golden.Folder, name));
            Assert.Equal(file.GetProperty("sha256").GetString(), FormulaPicture.Sha256(content));
            var problem = file.TryGetProperty("error", out var error)
                ? ProblemOfBroken(content, error.GetString()!)
                : ProblemOfPicture(golden, file, content);
            if (problem is not null) failures.Add($"{name}: {problem}");
        }
        Assert.Empty(failures);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Names_with_spaces_and_foreign_letters_are_read(string id)
    {
        using var golden = GoldenCase.Open(id);
        var file = golden.Json.GetProperty("files").EnumerateArray().First(item => item.GetProperty("note").GetString()!.StartsWith("copy it to a name", StringComparison.Ordinal));
        using var folder = new TemporaryFolder();
        var path = folder.Path("a name é 日本.png");
        File.Copy(Path.Combine(golden.Folder, file.GetProperty("file").GetString()!), path);
        using var expected = golden.Tensor(TensorName(file));
        Assert.Equal(expected.data<byte>().ToArray(), ImageFile.Read(path).Pixels);
    }

    private static string TensorName(JsonElement file) => file.GetProperty("expected").GetString()!["tensor ".Length..];

    private static string? ProblemOfPicture(GoldenCase golden, JsonElement file, byte[] content)
    {
        var size = new PixelSize(file.GetProperty("width").GetInt32(), file.GetProperty("height").GetInt32());
        var header = ImageFile.ReadHeader(content);
        var scale = header.Format == "svg" ? (double)size.Height / header.Size.Height : 1;   // drawings are stored at other sizes too
        if (scale == 1 && header.Size != size) return $"the header says {header.Size}, expected {size}";
        var picture = ImageFile.Decode(content, scale);
        if (picture.Size != size) return $"{picture.Size}, expected {size}";
        using var expected = golden.Tensor(TensorName(file));
        var differences = expected.data<byte>().ToArray().Zip(picture.Pixels, (a, b) => Math.Abs(a - b)).ToList();
        var tolerance = file.GetProperty("tolerance");
        var (max, mean) = (tolerance.GetProperty("max").GetInt32(), tolerance.GetProperty("mean").GetDouble());
        return differences.Max() <= max && differences.Average() <= mean ? null : $"{differences.Max()} levels, {differences.Average()} in the mean; at most {max}, {mean}";
    }

    private static string? ProblemOfBroken(byte[] content, string error)
    {
        var expected = error switch
        {
            "empty" => ImageDefect.Empty,
            "unknown format" => ImageDefect.UnknownFormat,
            "truncated" => ImageDefect.Truncated,
            "corrupt" => ImageDefect.Corrupt,
            "too large" => ImageDefect.TooLarge,
            _ => throw new NotSupportedException($"an error this test does not know: {error}"),
        };
        try
        {
            return $"decoded to {ImageFile.Decode(content).Size}, expected the error {error}";
        }
        catch (ImageDefectException defect)
        {
            return defect.Defect == expected ? null : $"{defect.Defect} ({defect.Message}), expected {expected}";
        }
    }
}
