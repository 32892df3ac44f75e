using System.Text.Json;
using LowRank.Adapters;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>The net of the cases about combining and resizing: single layers named <c>lora_unet_…</c> in their files, without memory.</summary>
internal sealed class ToyNet : IDisposable
{
    private readonly nn.Module net;

    /// <param name="shapes">By name (out, in) of a linear layer, or (out, in, k, k) of a convolution.</param>
    public ToyNet(IEnumerable<(string Name, long[] Shape)> shapes)
    {
        net = nn.Sequential([.. shapes.Select(item => (item.Name, Make(item.Shape)))]);
        Components = new Dictionary<string, nn.Module> { ["unet"] = net };
        Names = new ModuleNames(Components);
    }

    /// <summary>From a case's <c>params.shapes</c>, and layers beside them.</summary>
    public static ToyNet Of(JsonElement shapes, params (string Name, long[] Shape)[] more) =>
        new(shapes.EnumerateObject().Select(item => (item.Name, item.Value.EnumerateArray().Select(size => size.GetInt64()).ToArray())).Concat(more));

    public IReadOnlyDictionary<string, nn.Module> Components { get; }

    public ModuleNames Names { get; }

    /// <summary>ΔW of every module of an adapter file, by the module's name. The caller's scope owns them.</summary>
    public Dictionary<string, Tensor> Deltas(string path)
    {
        using var file = AdapterFile.Open(path);
        using var set = AdapterSet.Load(Components, file);
        return set.Layers.ToDictionary(layer => layer.Path, layer => layer.Delta());
    }

    public void Dispose() => net.Dispose();

    private static nn.Module<Tensor, Tensor> Make(long[] shape) => shape.Length == 2
        ? nn.Linear(shape[1], shape[0], device: META)
        : nn.Conv2d(shape[1], shape[0], (shape[2], shape[3]), device: META);
}
