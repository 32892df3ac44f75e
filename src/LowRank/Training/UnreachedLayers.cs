using LowRank.Adapters;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Layers that nothing in use depends on, such as those of a text encoder behind the layer that is read. Their tensors have no gradient, which is
/// another thing than a gradient of 0: an optimizer leaves them as they are, decay included.
/// </summary>
internal static class UnreachedLayers
{
    /// <summary>Looks by one backward pass. Gradients are afterwards what they were.</summary>
    /// <param name="adapter">Whose layers; attached.</param>
    /// <param name="outputs">Computes what is in use. Its tensors belong to the caller's scope.</param>
    /// <param name="component">The part that was run.</param>
    public static IReadOnlySet<LoraLayer> Find(AdapterSet adapter, string component, Func<IEnumerable<Tensor>> outputs)
    {
        using var scope = NewDisposeScope();
        var layers = adapter.Layers.Where(layer => layer.Component == component).ToList();
        var places = layers.ToDictionary(layer => layer, layer => layer.Down.grad);
        foreach (var layer in layers) layer.Down.grad = null;
        var kept = adapter.FlatGradients.clone();
        outputs().Select(output => output.to(ScalarType.Float32).sum()).Aggregate((a, b) => a + b).backward();
        var unreached = layers.Where(layer => layer.Down.grad is null).ToHashSet();
        foreach (var layer in layers) layer.Down.grad = places[layer];
        using var quiet = no_grad();
        adapter.FlatGradients.copy_(kept);
        return unreached;
    }
}
