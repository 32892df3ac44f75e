using LowRank.Foundation;

namespace LowRank.Adapters;

/// <summary>A learned embedding that an adapter file carries beside (or instead of) its factors.</summary>
/// <param name="Name">The token or name it is called by; the file's key where it says none.</param>
/// <param name="Key">Its key in the file.</param>
/// <param name="Shape">(size) or (vectors, size).</param>
internal sealed record AdapterEmbedding(string Name, string Key, IReadOnlyList<long> Shape)
{
    private const string Bundle = "bundle_emb.";

    /// <summary>Where the web UIs' pickled embeddings keep their vectors.</summary>
    private const string WebUi = "string_to_param.";

    /// <summary>Keys of files that hold one embedding: sd-scripts, and the two encoders of SDXL.</summary>
    private static readonly string[] WholeFileKeys = ["emb_params", "clip_l", "clip_g"];

    /// <summary>The embedding behind a key that no adapter convention has; null when it looks like none.</summary>
    internal static AdapterEmbedding? Of(ITensorFile file, string key)
    {
        var info = file.Tensors[key];
        if (!IsEmbeddingKey(file, key) || info.Shape.Count is not (1 or 2)) return null;
        var name = key.StartsWith(Bundle, StringComparison.Ordinal) ? key[Bundle.Length..].Split('.')[0] : key;
        return new AdapterEmbedding(name, key, info.Shape);
    }

    /// <summary>Whether a key is an embedding's: bundled, marked in the metadata, a placeholder token, or one of the known single names.</summary>
    internal static bool IsEmbeddingKey(ITensorFile file, string key) =>
        key.StartsWith(Bundle, StringComparison.Ordinal) || key.StartsWith(WebUi, StringComparison.Ordinal)
        || file.Metadata.GetValueOrDefault(key) == "<embed>"
        || (key.StartsWith('<') && key.EndsWith('>'))
        || WholeFileKeys.Contains(key)
        || (file.Tensors.Count == 1 && file.Tensors[key].Shape.Count is 1 or 2 && !key.Contains('.', StringComparison.Ordinal));
}
