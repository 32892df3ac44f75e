using System.Security.Cryptography;
using System.Text;
using LowRank.Foundation;
using LowRank.Images;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>What the networks of features share: pictures by batches, and a name for weights.</summary>
internal static class FeatureBatches
{
    /// <summary>Runs a network on pictures, some at a time.</summary>
    /// <param name="pictures">At least one.</param>
    /// <param name="batch">At a time.</param>
    /// <param name="planes">A picture as the network takes it: (3, side, side).</param>
    /// <param name="side">Of <paramref name="planes"/>.</param>
    /// <param name="network">From (b, 3, side, side) float32 on the CPU to (b, D) float32; runs without gradients.</param>
    /// <returns>(n, D) float32 on the CPU. The caller owns it.</returns>
    public static Tensor OfPictures(IReadOnlyList<RgbImage> pictures, int batch, Func<RgbImage, float[]> planes, int side, Func<Tensor, Tensor> network)
    {
        if (pictures.Count == 0) throw new ArgumentException("no pictures", nameof(pictures));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        List<Tensor> parts = [];
        foreach (var chunk in pictures.Chunk(batch))
        {
            using var inner = NewDisposeScope();
            var input = tensor(chunk.SelectMany(planes).ToArray(), chunk.Length, 3, side, side);
            parts.Add(network(input).to(ScalarType.Float32, CPU).MoveToOuterDisposeScope());
        }
        return cat(parts).MoveToOuterDisposeScope();
    }

    /// <summary>SHA-256 over all weights: names, shapes and float32 values in the names' order, whatever file they came in.</summary>
    /// <param name="networks">On any device.</param>
    public static string HashOf(params nn.Module[] networks)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (name, weight) in networks.SelectMany(network => network.state_dict()).OrderBy(item => item.Key, StringComparer.Ordinal))
        {
            using var scope = NewDisposeScope();
            hash.AppendData(Encoding.UTF8.GetBytes($"{name} {Shapes.Show(weight.shape)}\n"));
            TensorMemory.Visit(weight.detach().to(ScalarType.Float32, CPU).contiguous(), (piece, _) => hash.AppendData(piece));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
