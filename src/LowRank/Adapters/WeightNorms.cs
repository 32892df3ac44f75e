using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>What limiting the norms of an adapter's layers did.</summary>
/// <param name="Scaled">Layers that were longer than the limit.</param>
/// <param name="Mean">Mean norm of the layers afterwards.</param>
/// <param name="Largest">Largest norm of the layers afterwards.</param>
internal sealed record LimitedNorms(int Scaled, double Mean, double Largest);

/// <summary>
/// Max-norm regularisation as sd-scripts does it (networks/lora.py, apply_max_norm_regularization; LyCORIS for the other kinds): a layer
/// whose change is longer than the limit is scaled down to it, each of its k factors by the k-th root.
/// </summary>
internal static class WeightNorms
{
    /// <summary>What to call after each update; null where the options limit nothing.</summary>
    public static Func<LimitedNorms>? By(AdapterSet adapter, AdapterOptions options) =>
        options.ScaleWeightNorms > 0 ? () => Limit(adapter.Layers, options.ScaleWeightNorms) : null;

    /// <summary>Limits every layer.</summary>
    /// <param name="layers">Changed in place.</param>
    /// <param name="limit">Longest ‖scale · product‖ (Frobenius), above 0.</param>
    public static LimitedNorms Limit(IReadOnlyList<AdapterLayer> layers, double limit)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var norms = stack(layers.Select(layer => layer.Target.Kind.Norm(layer.Factors, layer.Scale))).cpu().data<double>().ToArray();   // one wait for the device
        var scaled = 0;
        for (var i = 0; i < layers.Count; i++)
        {
            if (norms[i] <= limit) continue;
            var root = Math.Pow(limit / norms[i], 1.0 / layers[i].Product.Count);
            foreach (var factor in layers[i].Product) factor.MultiplyInPlace(root);
            norms[i] = limit;
            scaled++;
        }
        return new LimitedNorms(scaled, norms.Average(), norms.Max());
    }
}
