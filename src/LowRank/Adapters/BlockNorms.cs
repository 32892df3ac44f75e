using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>How far an adapter has gone from its base, block by block.</summary>
internal static class BlockNorms
{
    /// <summary>‖ΔW‖ (Frobenius) over all layers of each block, at strength 1.</summary>
    /// <param name="adapter">Of any kind.</param>
    /// <returns>By block (<see cref="BlockOf"/>), in the order of the layers.</returns>
    public static IReadOnlyDictionary<string, double> Of(AdapterSet adapter)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var norms = new List<Tensor>();
        foreach (var layer in adapter.Layers)
        {
            using var delta = layer.Delta();
            norms.Add(delta.norm());
        }
        var values = stack(norms).cpu().to(ScalarType.Float64).data<double>().ToArray();   // one wait for the device
        return adapter.Layers.Zip(values).GroupBy(item => BlockOf(item.First.Component, item.First.Path))
            .ToDictionary(block => block.Key, block => Math.Sqrt(block.Sum(item => item.Second * item.Second)));
    }

    /// <summary>The mean length of the vectors of each learned token.</summary>
    /// <param name="tokens">The tokens.</param>
    /// <returns>By the token's name among the trained (<c>text_encoder.token.&lt;s1&gt;</c>).</returns>
    public static IReadOnlyDictionary<string, double> Of(EmbeddingSet tokens)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        return tokens.NamedParameters().ToDictionary(item => item.Name, item => (double)item.Parameter.norm(1).mean().item<float>());
    }

    /// <summary>unet.down_blocks.0, unet.mid_block, text_encoder.text_model: a component with the first part of the path, and its number where it has one.</summary>
    public static string BlockOf(string component, string path)
    {
        var parts = path.Split('.');
        return parts.Length > 1 && parts[1].All(char.IsAsciiDigit) ? $"{component}.{parts[0]}.{parts[1]}" : $"{component}.{parts[0]}";
    }
}
