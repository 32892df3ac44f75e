using System.Text;
using System.Text.Json;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>The models that adapter cases were made for, on the meta device: names and shapes only.</summary>
internal sealed class AdapterModels : Dictionary<string, nn.Module>, IDisposable
{
    /// <summary>From a case's <c>params</c>: a configuration for each component, seeds and the like beside them.</summary>
    public static AdapterModels FromParams(JsonElement parameters)
    {
        var models = new AdapterModels();
        foreach (var item in parameters.EnumerateObject().Where(item => item.Value.ValueKind == JsonValueKind.Object)) models.Add(item.Name, item.Value);
        return models;
    }

    /// <summary>A published model at full size, by the name of its manifests.</summary>
    public static AdapterModels Published(string family)
    {
        var models = new AdapterModels();
        foreach (var path in PackedFixture.In(Path.Combine(GoldenCase.FixturesFolder, "models", "manifests"), family + ".*.json"))
        {
            using var manifest = JsonDocument.Parse(PackedFixture.ReadAllBytes(path));
            var component = Path.GetFileNameWithoutExtension(path)[(family.Length + 1)..];
            if (component != "vae") models.Add(component, manifest.RootElement.GetProperty("config"));
        }
        return models;
    }

    public void Dispose()
    {
        foreach (var model in Values) model.Dispose();
    }

    private void Add(string component, JsonElement config)
    {
        var json = Encoding.UTF8.GetBytes(config.GetRawText());
        this[component] = component == "unet"
            ? new UNet2DConditionModel(UNet2DConditionConfig.Parse(json, component), LayerFactory.Meta)
            : new ClipTextModel(ClipTextConfig.Parse(json, component), projection: component == "text_encoder_2", LayerFactory.Meta);
    }
}
