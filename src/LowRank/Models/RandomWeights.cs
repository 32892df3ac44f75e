using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Models;

/// <summary>
/// Weights of a network that nobody has trained: what PyTorch's layers begin with. Linear layers and convolutions are uniform within ±1/√(inputs of an
/// output), weights and biases alike (kaiming_uniform_ with a = √5); norms are 1 and 0; tables of vectors are standard normal.
/// </summary>
internal static class RandomWeights
{
    /// <summary>Draws every weight, in the order of the network's keys.</summary>
    /// <param name="module">On any device, also that without memory; its own values are not looked at.</param>
    /// <param name="generator">On the CPU.</param>
    /// <param name="deviation">Standard deviation of a normal distribution for the weight of a layer by its path, whose bias is then 0; null for the rule above.</param>
    /// <returns>Tensors by key, float32; the caller's.</returns>
    public static Dictionary<string, Tensor> Draw(nn.Module module, Generator generator, Func<string, double?>? deviation = null)
    {
        var drawn = new Dictionary<string, Tensor>();
        foreach (var (path, layer) in module.named_modules())
        {
            foreach (var (name, parameter) in layer.named_parameters(recurse: false)) drawn.Add(path.Length == 0 ? name : $"{path}.{name}", Draw(layer, name, parameter.shape, generator, deviation?.Invoke(path)));
        }
        return drawn;
    }

    private static Tensor Draw(nn.Module layer, string name, long[] shape, Generator generator, double? deviation)
    {
        switch (layer)
        {
            case TorchSharp.Modules.GroupNorm or TorchSharp.Modules.LayerNorm: return name == "weight" ? ones(shape) : zeros(shape);
            case TorchSharp.Modules.Embedding: return Normal(shape, generator, deviation ?? 1);
            case TorchSharp.Modules.Linear or TorchSharp.Modules.Conv2d when deviation is { } spread: return name == "weight" ? Normal(shape, generator, spread) : zeros(shape);
            case TorchSharp.Modules.Linear linear: return Uniform(shape, generator, linear.weight!.shape);
            case TorchSharp.Modules.Conv2d conv: return Uniform(shape, generator, conv.weight!.shape);
            default: throw new NotSupportedException(Invariant($"no rule for the {name} of a {layer.GetName()}"));
        }
    }

    private static Tensor Normal(long[] shape, Generator generator, double deviation)
    {
        using var scope = NewDisposeScope();
        return randn(shape, ScalarType.Float32, generator: generator).Times(deviation).MoveToOuterDisposeScope();
    }

    /// <param name="shape">Of what is drawn.</param>
    /// <param name="generator">Draws.</param>
    /// <param name="weight">Shape of the layer's weight: (out, in, …).</param>
    private static Tensor Uniform(long[] shape, Generator generator, long[] weight)
    {
        using var scope = NewDisposeScope();
        var bound = 1 / Math.Sqrt(weight.Skip(1).Aggregate(1L, (product, size) => product * size));
        return rand(shape, ScalarType.Float32, generator: generator).Times(2).Minus(1).Times(bound).MoveToOuterDisposeScope();
    }
}
