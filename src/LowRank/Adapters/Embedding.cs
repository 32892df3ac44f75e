using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>A learned token read from a file. Owns its tensors.</summary>
/// <param name="token">The word it is called by.</param>
/// <param name="vectors">By component name (text_encoder, text_encoder_2) its vectors, (n, C) float32.</param>
internal sealed class Embedding(string token, IReadOnlyDictionary<string, Tensor> vectors) : IDisposable
{
    /// <summary>The word it is called by.</summary>
    public string Token { get; } = token;

    /// <summary>By component name (text_encoder, text_encoder_2) its vectors, (n, C) float32.</summary>
    public IReadOnlyDictionary<string, Tensor> Vectors { get; } = vectors;

    /// <summary>Every learned token of a file: one that holds nothing else, in any form (A1111, sd-scripts, diffusers, SDXL, the package of 2022), or an adapter with tokens beside its factors.</summary>
    /// <param name="path">The file.</param>
    /// <param name="token">What the token shall be called; null for the name that the file gives.</param>
    /// <returns>In the file's order; the caller disposes them.</returns>
    /// <exception cref="CheckpointException">No tensor file, no embedding in it, or numbers that are not finite.</exception>
    /// <exception cref="OptionsException">One name for several tokens.</exception>
    public static IReadOnlyList<Embedding> Read(string path, string? token = null)
    {
        using var file = AdapterFile.Open(path);
        var found = Read(file);
        if (found.Count == 0) throw new CheckpointException($"the file holds no embedding ({file.Looks()}); in {path}; use it with --adapter, or give a textual-inversion file");
        if (token is null) return found;
        if (found is [var one]) return [new Embedding(token, one.Vectors)];
        foreach (var embedding in found) embedding.Dispose();
        throw new OptionsException(Invariant($"the file holds {found.Count} embeddings, which cannot all be called {token}: {AdapterFile.Some([.. found.Select(item => item.Token)])}; in {path}; leave the name away to use theirs"));
    }

    /// <summary>The learned tokens of an open file; none where it holds none.</summary>
    internal static IReadOnlyList<Embedding> Read(AdapterFile file)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var found = file.Embeddings.GroupBy(item => item.Name)
            .Select(group => new Embedding(group.Key, group.ToDictionary(item => item.Component, item => Rows(file, item)))).ToList();
        foreach (var tensor in found.SelectMany(item => item.Vectors.Values)) tensor.DetachFromDisposeScope();
        return found;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in Vectors.Values) tensor.Dispose();
    }

    /// <summary>(n, C) float32, whatever is stored.</summary>
    private static Tensor Rows(AdapterFile file, AdapterEmbedding item)
    {
        var rows = file.Read(item).to(ScalarType.Float32);
        if (!rows.isfinite().all().item<bool>()) throw new CheckpointException($"the embedding {item.Name} has numbers that are not finite; in {file.Path}; take another save of it");
        return rows.dim() == 1 ? rows.unsqueeze(0) : rows;
    }
}
