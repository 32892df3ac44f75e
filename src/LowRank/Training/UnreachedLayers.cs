using LowRank.Adapters;
using LowRank.Foundation;
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
    /// <param name="component">The part that is run.</param>
    /// <param name="outputs">Runs it and gives what is in use of it.</param>
    /// <returns>Names as in <see cref="AdapterSet.NamedParameters"/>.</returns>
    public static IReadOnlySet<string> Find(AdapterSet adapter, string component, Func<IEnumerable<Tensor>> outputs) => Find([.. adapter.NamedParameters()], adapter.FlatGradients, component, outputs);

    /// <summary>The same for any parameters.</summary>
    /// <param name="parameters">As <c>component.path</c>.</param>
    /// <param name="gradients">(N) float32, in which their gradients lie.</param>
    /// <param name="component">The part that is run.</param>
    /// <param name="outputs">Runs it and gives what is in use of it.</param>
    public static IReadOnlySet<string> Find(IReadOnlyList<(string Name, Tensor Parameter)> parameters, Tensor gradients, string component, Func<IEnumerable<Tensor>> outputs)
    {
        using var scope = NewDisposeScope();
        var named = parameters.Where(item => item.Name.StartsWith(component + ".", StringComparison.Ordinal)).ToList();
        var places = named.ConvertAll(item => item.Parameter.grad);
        var kept = gradients.clone();
        foreach (var (_, parameter) in named) parameter.grad = null;
        outputs().Select(output => output.to(ScalarType.Float32).sum()).Aggregate((a, b) => a.Plus(b)).backward();
        var unreached = named.Where(item => item.Parameter.grad is null).Select(item => item.Name).ToHashSet();
        for (var i = 0; i < named.Count; i++) named[i].Parameter.grad = places[i];
        using var quiet = no_grad();
        gradients.copy_(kept);
        return unreached;
    }
}
