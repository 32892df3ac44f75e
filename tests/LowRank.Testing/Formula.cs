using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Testing;

/// <summary>
/// Weights and inputs by formula: FNV-1a of the name seeds SplitMix64, whose top 24 bits become a float in [-1, 1).
/// The golden cases name their tensors this way instead of storing them.
/// </summary>
public static class Formula
{
    public static ulong Fnv1a64(string text)
    {
        var hash = 0xCBF29CE484222325UL;
        foreach (var value in Encoding.UTF8.GetBytes(text)) hash = (hash ^ value) * 0x100000001B3UL;
        return hash;
    }

    /// <summary><paramref name="count"/> values in [-1, 1) for this name and seed.</summary>
    public static float[] Uniform(string name, long count, long seed)
    {
        var state = Fnv1a64(name) ^ unchecked((ulong)seed);
        var values = new float[count];
        for (long i = 0; i < count; i++)
        {
            state += 0x9E3779B97F4A7C15UL;
            var z = state;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
            z ^= z >> 31;
            values[i] = (float)((z >> 40) * (1.0 / (1 << 23)) - 1.0);
        }
        return values;
    }

    /// <summary>An input by formula, float32; the default amplitude gives variance 1.</summary>
    public static Tensor Noise(string name, IReadOnlyList<long> shape, long seed, double? amplitude = null)
    {
        var values = Uniform(name, Count(shape), seed);
        var factor = (float)(amplitude ?? Math.Sqrt(3.0));
        for (var i = 0; i < values.Length; i++) values[i] *= factor;
        return tensor(values, shape.ToArray());
    }

    /// <summary>A weight by formula, float32: norm weights near 1, biases near 0, matrices by their fan-in.</summary>
    public static Tensor Weight(string name, IReadOnlyList<long> shape, long seed)
    {
        var values = Uniform(name, Count(shape), seed);
        if (shape.Count <= 1)
        {
            var norm = name.EndsWith("weight", StringComparison.Ordinal);
            for (var i = 0; i < values.Length; i++) values[i] = norm ? values[i] * 0.1f + 1f : values[i] * 0.05f;
        }
        else
        {
            var factor = (float)Math.Sqrt(3.0 / Count(shape.Skip(1).ToArray()));
            for (var i = 0; i < values.Length; i++) values[i] *= factor;
        }
        return tensor(values, shape.ToArray());
    }

    /// <summary>Fills every parameter by formula, under its name in the state dict behind <paramref name="prefix"/>.</summary>
    /// <param name="multiply">
    /// A case's rules, if it has them: an object of regular expressions and factors; in their order, each multiplies the parameters it is found in.
    /// </param>
    public static void Fill(nn.Module module, long seed, string prefix = "", JsonElement multiply = default)
    {
        using var quiet = no_grad();
        foreach (var (name, parameter) in module.named_parameters())
        {
            using var scope = NewDisposeScope();
            var weight = Weight(prefix + name, parameter.shape, seed);
            if (multiply.ValueKind == JsonValueKind.Object)
            {
                foreach (var rule in multiply.EnumerateObject().Where(rule => Regex.IsMatch(prefix + name, rule.Name))) weight.MultiplyInPlace((float)rule.Value.GetDouble());
            }
            parameter.copy_(weight);
        }
    }

    private static long Count(IReadOnlyList<long> shape) => shape.Aggregate(1L, (product, size) => product * size);
}
