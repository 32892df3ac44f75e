using System.Text.Json;
using LowRank.Images;
using LowRank.Testing;
using NetVips;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Kind <c>resize</c>: our Pillow resize to the bit, and the libvips calls for training pictures within the stated distance.</summary>
public class ResizeTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("images/resize");

    [Theory, MemberData(nameof(Cases))]
    public void Every_stored_picture_is_reproduced(string id)
    {
        using var golden = GoldenCase.Open(id);
        Assert.Equal("exact for 8 bit, atol 1e-3 for float, area atol 1 (rounding of ties)", golden.Json.GetProperty("tolerance").GetProperty("own implementation").GetString());
        Assert.Equal("(channel 0 as float32 - 100) * 0.37 in float32", golden.Json.GetProperty("float_input").GetString());
        var jobs = golden.Json.GetProperty("jobs").EnumerateArray().Select(Job.Read).ToList();
        Assert.NotEmpty(golden.TensorInfos);
        Assert.Equal(jobs.Sum(job => job.Filters.Count), golden.TensorInfos.Keys.Count(name => !name.Contains(".float.", StringComparison.Ordinal)));
        foreach (var name in golden.TensorInfos.Keys)
        {
            var parts = name.Split('.');   // job.filter or job.float.filter
            var job = jobs[int.Parse(parts[0], System.Globalization.CultureInfo.InvariantCulture)];
            var filter = Enum.Parse<PillowFilter>(parts[^1], ignoreCase: true);
            using var expected = golden.Tensor(name);
            if (parts.Length == 3)
            {
                Assert.Equal("float", parts[1]);
                var plane = new float[job.From.Pixels];
                for (var i = 0; i < plane.Length; i++) plane[i] = (job.Pixels[i * job.Channels] - 100f) * 0.37f;
                using var floats = tensor(PillowResize.Resize(plane, job.From, job.To, filter), expected.shape);
                TensorAssert.Close(expected, floats, rtol: 0, atol: 1e-3, name);
                continue;
            }
            using var actual = tensor(PillowResize.Resize(job.Pixels, job.From, job.Channels, job.To, filter), expected.shape);
            TensorAssert.Close(expected, actual, rtol: 0, atol: filter == PillowFilter.Area ? 1 : 0, name);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Libvips_stays_within_the_stated_distance(string id)
    {
        using var golden = GoldenCase.Open(id);
        var jobs = golden.Json.GetProperty("jobs").EnumerateArray().Select(Job.Read).ToList();
        foreach (var limit in golden.Json.GetProperty("tolerance").GetProperty("libvips").EnumerateObject())
        {
            var (enlarging, kernel, filter) = limit.Name switch
            {
                "shrinking, resize kernel lanczos3 against lanczos" => (false, Enums.Kernel.Lanczos3, "lanczos"),
                "shrinking, resize kernel cubic against bicubic" => (false, Enums.Kernel.Cubic, "bicubic"),
                "shrinking, resize cubic against area" => (false, Enums.Kernel.Cubic, "area"),
                "enlarging, affine bicubic with the half pixel offset against bicubic" => (true, Enums.Kernel.Lanczos3, "bicubic"),
                "enlarging, affine bicubic with the half pixel offset against lanczos" => (true, Enums.Kernel.Lanczos3, "lanczos"),
                _ => throw new NotSupportedException($"{id} compares with libvips in a way this test does not know: {limit.Name}"),
            };
            var means = new List<double>();
            for (var index = 0; index < jobs.Count; index++)
            {
                var job = jobs[index];
                var fits = enlarging
                    ? job.To.Width >= job.From.Width && job.To.Height >= job.From.Height
                    : job.To.Width <= job.From.Width && job.To.Height <= job.From.Height;
                if (job.Channels != 3 || !fits || !golden.Has($"{index}.{filter}")) continue;
                using var expected = golden.Tensor($"{index}.{filter}");
                var want = expected.data<byte>().ToArray();
                var have = ResizeWithLibvips(job, kernel);
                var differences = want.Zip(have, (a, b) => Math.Abs(a - b)).ToList();
                var largest = limit.Value.GetProperty("max").GetInt32();
                Assert.True(differences.Max() <= largest, $"{limit.Name}, job {index}: {differences.Max()} levels, at most {largest}");
                means.Add(differences.Average());
            }
            Assert.NotEmpty(means);
            var mean = limit.Value.GetProperty("mean").GetDouble();
            Assert.True(means.Average() <= mean, $"{limit.Name}: {means.Average()} levels in the mean, at most {mean}");
        }
    }

    private static byte[] ResizeWithLibvips(Job job, Enums.Kernel kernel)
    {
        using var image = Image.NewFromMemory(job.Pixels, job.From.Width, job.From.Height, job.Channels, Enums.BandFormat.Uchar);
        using var resized = ResizeCrop.Resize(image, job.To, kernel);
        Assert.Equal(job.To, new PixelSize(resized.Width, resized.Height));
        return resized.WriteToMemory<byte>();
    }

    private sealed record Job(PixelSize From, int Channels, PixelSize To, byte[] Pixels, IReadOnlyList<string> Filters)
    {
        public static Job Read(JsonElement json)
        {
            int Int(string key) => json.GetProperty(key).GetInt32();
            var pixels = FormulaPicture.Of(json.GetProperty("name").GetString()!, Int("height"), Int("width"), Int("channels"), Int("seed"));
            Assert.Equal(json.GetProperty("sha256").GetString(), FormulaPicture.Sha256(pixels));
            return new Job(new(Int("width"), Int("height")), Int("channels"), new(Int("out_width"), Int("out_height")), pixels,
                [.. json.GetProperty("filters").EnumerateArray().Select(item => item.GetString()!)]);
        }
    }
}
