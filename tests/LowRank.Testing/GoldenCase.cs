using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Testing;

/// <summary>
/// One golden case: <c>area/name.json</c> (what was computed) and, where it has tensors, <c>area/name.safetensors</c>.
/// Cases lie in <c>tests/fixtures</c>, or in the folder that LOWRANK_FIXTURES names.
/// </summary>
public sealed partial class GoldenCase : IDisposable
{
    private readonly JsonDocument document;
    private readonly Lazy<SafetensorsReader> tensors;

    private GoldenCase(string area, string name, string path)
    {
        Area = area;
        Name = name;
        Folder = Path.GetDirectoryName(path)!;
        document = Parse(path);
        tensors = new(() => SafetensorsReader.Open(PackedFixture.Unpack(Path.ChangeExtension(path, ".safetensors"))));
    }

    public string Area { get; }
    public string Name { get; }

    /// <summary>The area's folder, for cases with files of their own.</summary>
    public string Folder { get; }

    public JsonElement Json => document.RootElement;
    public string Kind => Json.GetProperty("kind").GetString()!;
    public IReadOnlyDictionary<string, TensorInfo> TensorInfos => tensors.Value.Tensors;

    /// <summary>The fixtures folder of this run.</summary>
    public static string FixturesFolder { get; } = Environment.GetEnvironmentVariable("LOWRANK_FIXTURES") is { Length: > 0 } folder
        ? Path.GetFullPath(folder)
        : Path.Combine(Repository.Root, "tests", "fixtures");

    /// <summary>A case of this run.</summary>
    /// <param name="id"><c>area/name</c>.</param>
    /// <param name="fixtures">A folder laid out as the fixtures; null for that of this run.</param>
    public static GoldenCase Open(string id, string? fixtures = null)
    {
        if (TestContext.Current.Test is { } test) GoldenLedger.OfRun.Opened(test.UniqueID, id);   // the listing of a theory's cases runs no test
        var parts = id.Split('/', 2);
        return new GoldenCase(parts[0], parts[1], Path.Combine(fixtures ?? FixturesFolder, parts[0], parts[1] + ".json"));
    }

    /// <summary>
    /// Ids (<c>area/name</c>) of every case of these kinds: the data of a theory. Fails a theory when there is none.
    /// A kind that two areas have is written <c>area/kind</c>.
    /// </summary>
    public static IEnumerable<TheoryDataRow<string>> OfKind(params string[] kinds) =>
        All().Where(item => kinds.Any(kind => IsOfKind(item, kind))).Select(item => new TheoryDataRow<string>(item.Id));

    /// <summary>Whether a case is of this kind, or of this <c>area/kind</c>.</summary>
    public static bool IsOfKind((string Id, string Kind) item, string kind) => kind == item.Kind || kind == $"{item.Id.Split('/')[0]}/{item.Kind}";

    /// <summary>Every JSON file with a kind, one folder deep, with that kind.</summary>
    public static IEnumerable<(string Id, string Kind)> All()
    {
        foreach (var folder in Directory.GetDirectories(FixturesFolder).Order(StringComparer.Ordinal))
        {
            foreach (var path in PackedFixture.In(folder, "*.json"))
            {
                using var json = Parse(path);
                if (json.RootElement.ValueKind != JsonValueKind.Object || !json.RootElement.TryGetProperty("kind", out var kind)) continue;
                yield return ($"{Path.GetFileName(folder)}/{Path.GetFileNameWithoutExtension(path)}", kind.GetString()!);
            }
        }
    }

    /// <summary>Cases were written with bare NaN and Infinity where a number is not finite; they read as null.</summary>
    private static JsonDocument Parse(string path) =>
        JsonDocument.Parse(NotFinite().Replace(Encoding.UTF8.GetString(PackedFixture.ReadAllBytes(path)), found => found.Groups["text"].Success ? found.Value : "null"));

    [GeneratedRegex("""(?<text>"(?:[^"\\]|\\.)*")|-?\b(?:NaN|Infinity)\b""")]
    private static partial Regex NotFinite();

    /// <summary>A stored tensor; the caller owns it.</summary>
    public Tensor Tensor(string name) => tensors.Value.Read(name);

    /// <summary>The stated tolerance of one tensor: its own, or the case's; none means exact.</summary>
    public (double Relative, double Absolute) Tolerance(string name)
    {
        var stated = Json.TryGetProperty("tolerance_by_tensor", out var own) && own.ValueKind == JsonValueKind.Object && own.TryGetProperty(name, out var one)
            ? one
            : Json.GetProperty("tolerance");
        return stated.ValueKind == JsonValueKind.Null ? (0, 0) : (stated.GetProperty("rtol").GetDouble(), stated.GetProperty("atol").GetDouble());
    }

    /// <summary>Holds a computed tensor against the stored one of this name, within its tolerance. The caller keeps both.</summary>
    public void AssertClose(string name, Tensor actual)
    {
        using var expected = Tensor(name);
        var (relative, absolute) = Tolerance(name);
        TensorAssert.Close(expected, actual, relative, absolute, $"{Name}: {name}");
    }

    /// <summary>Holds a computed number against the stored one, within the case's tolerance.</summary>
    /// <param name="expected">The number in the case's JSON.</param>
    /// <param name="actual">The computed one.</param>
    /// <param name="label">What the number is, for the message.</param>
    public void AssertNumber(JsonElement expected, double actual, string label)
    {
        var (value, tolerance) = (expected.GetDouble(), Json.GetProperty("tolerance"));
        var allowed = tolerance.GetProperty("atol").GetDouble() + tolerance.GetProperty("rtol").GetDouble() * Math.Abs(value);
        Assert.True(Math.Abs(actual - value) <= allowed, string.Create(CultureInfo.InvariantCulture, $"{Name}: {label} is {actual:R}, expected {value:R} within {allowed:G3}"));
    }

    /// <summary>Holds every stored tensor against the computed one of its name. One that nothing computed is a failure.</summary>
    public void AssertAllClose(IReadOnlyDictionary<string, Tensor> computed)
    {
        foreach (var name in TensorInfos.Keys)
        {
            Assert.True(computed.TryGetValue(name, out var actual), $"{Name}: nothing computed {name}");
            AssertClose(name, actual!);
        }
    }

    public bool Has(string name) => tensors.Value.Tensors.ContainsKey(name);

    public void Dispose()
    {
        document.Dispose();
        if (tensors.IsValueCreated) tensors.Value.Dispose();
    }
}
