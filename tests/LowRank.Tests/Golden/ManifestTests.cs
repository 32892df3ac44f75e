using System.Text;
using System.Text.Json;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Keys and shapes of the real checkpoints, against models built without memory.</summary>
public class ManifestTests
{
    private static readonly string Folder = Path.Combine(GoldenCase.FixturesFolder, "models", "manifests");

    /// <summary>The model of each published class; a manifest of another class fails.</summary>
    private static readonly Dictionary<string, Func<byte[], nn.Module>> Models = new()
    {
        ["UNet2DConditionModel"] = json => new UNet2DConditionModel(UNet2DConditionConfig.Parse(json, "manifest"), LayerFactory.Meta),
        ["AutoencoderKL"] = json => new AutoencoderKL(AutoencoderKLConfig.Parse(json, "manifest"), LayerFactory.Meta),
        ["CLIPTextModel"] = json => new ClipTextModel(ClipTextConfig.Parse(json, "manifest"), projection: false, LayerFactory.Meta),
        ["CLIPTextModelWithProjection"] = json => new ClipTextModel(ClipTextConfig.Parse(json, "manifest"), projection: true, LayerFactory.Meta),
    };

    /// <summary>Configuration files of published folders, by component; components that have no network are not listed.</summary>
    private static readonly Dictionary<string, string> Components = new()
    {
        ["unet/config.json"] = "UNet2DConditionModel",
        ["vae/config.json"] = "AutoencoderKL",
        ["text_encoder/config.json"] = "CLIPTextModel",
        ["text_encoder_2/config.json"] = "CLIPTextModelWithProjection",
    };

    public static IEnumerable<TheoryDataRow<string>> Manifests() =>
        from path in PackedFixture.In(Folder, "*.json")
        where Open(path).TryGetProperty("class", out _)
        select new TheoryDataRow<string>(Path.GetFileNameWithoutExtension(path));

    public static IEnumerable<TheoryDataRow<string, string>> PublishedFiles() =>
        from model in Open(Path.Combine(Folder, "published.json")).EnumerateObject()
        where model.Value.ValueKind == JsonValueKind.Object
        from file in model.Value.EnumerateObject()
        where Components.ContainsKey(file.Name)
        select new TheoryDataRow<string, string>(model.Name, file.Name);

    [Theory, MemberData(nameof(Manifests))]
    public void A_model_has_exactly_the_keys_and_shapes_of_its_published_file(string name)
    {
        using var scope = NewDisposeScope();
        var manifest = Open(Path.Combine(Folder, name + ".json"));
        using var model = Build(manifest.GetProperty("class").GetString()!, manifest.GetProperty("config"));

        var actual = model.state_dict().ToDictionary(item => item.Key, item => Show(item.Value.shape));

        Assert.Equal(Expected(manifest).OrderBy(item => item.Key, StringComparer.Ordinal), actual.OrderBy(item => item.Key, StringComparer.Ordinal));
        Assert.Equal(manifest.GetProperty("tensors").GetInt32(), actual.Count);
        Assert.Equal(manifest.GetProperty("parameters").GetInt64(), model.parameters().Sum(parameter => parameter.numel()));
    }

    [Theory, MemberData(nameof(PublishedFiles))]
    public void A_published_configuration_is_read_and_built(string model, string file)
    {
        using var scope = NewDisposeScope();
        var config = Open(Path.Combine(Folder, "published.json")).GetProperty(model).GetProperty(file);

        using var built = Build(Components[file], config);

        Assert.NotEmpty(built.state_dict());
    }

    private static nn.Module Build(string type, JsonElement config)
    {
        Assert.True(Models.TryGetValue(type, out var make), $"{type} is not built");
        return make!(Encoding.UTF8.GetBytes(config.GetRawText()));
    }

    /// <summary>A manifest's keys and shapes; it may stand on another (<c>same_as</c>) and give the differences only.</summary>
    private static Dictionary<string, string> Expected(JsonElement manifest)
    {
        var keys = manifest.TryGetProperty("same_as", out var other) ? Expected(Open(Path.Combine(Folder, other.GetString() + ".json"))) : [];
        if (manifest.TryGetProperty("keys", out var rows))
        {
            foreach (var row in rows.EnumerateArray()) keys[row[0].GetString()!] = Show(row[1]);
        }
        if (manifest.TryGetProperty("except", out var changed))
        {
            foreach (var item in changed.EnumerateObject()) keys[item.Name] = Show(item.Value);
        }
        return keys;
    }

    private static string Show(JsonElement shape) => Show(shape.EnumerateArray().Select(size => size.GetInt64()));

    private static string Show(IEnumerable<long> shape) => string.Join(',', shape);

    private static JsonElement Open(string path)
    {
        using var document = JsonDocument.Parse(PackedFixture.ReadAllBytes(path));
        return document.RootElement.Clone();
    }
}
