using LowRank.Foundation;
using LowRank.Models;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>Networks with random weights.</summary>
internal static class DrawnNetwork
{
    /// <summary>Gives a network without memory weights by <see cref="RandomWeights"/>.</summary>
    /// <param name="network">On the meta device.</param>
    /// <param name="generator">Draws on the CPU.</param>
    /// <param name="type">Element type.</param>
    /// <param name="device">Where to.</param>
    /// <param name="deviation">As for <see cref="RandomWeights.Draw(nn.Module, Generator, Func{string, double?}?)"/>.</param>
    /// <returns>The same network.</returns>
    public static T Of<T>(T network, Generator generator, ScalarType type, Device device, Func<string, double?>? deviation = null) where T : nn.Module
    {
        using var scope = NewDisposeScope();
        var drawn = RandomWeights.Draw(network, generator, deviation);
        ModuleWeights.Assign(network, [.. drawn.Select(item => new WeightSource(item.Key, item.Key, item.Value.shape, () => item.Value))], type, device, "random weights");
        network.eval();
        return network;
    }
}
