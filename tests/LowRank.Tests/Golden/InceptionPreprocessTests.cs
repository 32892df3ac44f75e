using System.Text.Json;
using LowRank.Evaluation;
using LowRank.Images;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class InceptionPreprocessTests
{
    private static readonly (string Name, InceptionInput Way)[] Ways =
        [("tf1", InceptionInput.TorchFidelity), ("clean", InceptionInput.CleanFid), ("pytorch", InceptionInput.PytorchFid)];

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("inception_preprocess");

    [Theory, MemberData(nameof(Cases))]
    public void Every_way_gives_what_its_library_gives(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var side = golden.Json.GetProperty("config").GetProperty("out").GetInt32();
        var computed = new Dictionary<string, Tensor>();
        var pictures = golden.Json.GetProperty("pictures").EnumerateArray().Select(Picture).ToList();
        foreach (var (name, way) in Ways)
        {
            for (var i = 0; i < pictures.Count; i++) computed[$"{name}.{i}"] = tensor(InceptionPicture.Planes(pictures[i], way, side), 3, side, side);
            computed[$"{name}.full.rows"] = FullRows(golden, name, way);
        }
        golden.AssertAllClose(computed);
    }

    /// <summary>Some rows of a picture at the network's size; the sums over all of it are held here.</summary>
    private static Tensor FullRows(GoldenCase golden, string name, InceptionInput way)
    {
        var config = golden.Json.GetProperty("config");
        Assert.Equal(InceptionPicture.Side, config.GetProperty("full_out").GetInt32());
        var planes = InceptionPicture.Planes(Picture(golden.Json.GetProperty("full")), way);
        var sums = golden.Json.GetProperty("full_sums").GetProperty(name).EnumerateArray().Select(value => value.GetDouble()).ToArray();
        var tolerance = golden.Tolerance(name).Absolute * planes.Length;
        Assert.Equal(sums[0], planes.Sum(value => (double)value), tolerance);
        Assert.Equal(sums[1], planes.Sum(value => Math.Abs((double)value)), tolerance);
        var rows = config.GetProperty("full_rows").EnumerateArray().Select(row => row.GetInt64()).ToArray();
        return tensor(planes, 3, InceptionPicture.Side, InceptionPicture.Side).index_select(1, tensor(rows));
    }

    private static RgbImage Picture(JsonElement json)
    {
        int Int(string key) => json.GetProperty(key).GetInt32();
        var pixels = FormulaPicture.Of(json.GetProperty("name").GetString()!, Int("height"), Int("width"), Int("channels"), Int("seed"));
        Assert.Equal(json.GetProperty("sha256").GetString(), FormulaPicture.Sha256(pixels));
        return new RgbImage(new PixelSize(Int("width"), Int("height")), pixels);
    }
}
