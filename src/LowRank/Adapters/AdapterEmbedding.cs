using LowRank.Foundation;

namespace LowRank.Adapters;

/// <summary>Vectors of a learned token in a file: alone, or beside an adapter's factors.</summary>
/// <param name="Name">The word it is called by: what the file says, else the file's name.</param>
/// <param name="Key">Its key in the file.</param>
/// <param name="Component">The text encoder that reads it: text_encoder, text_encoder_2.</param>
/// <param name="Shape">(size) or (vectors, size).</param>
internal sealed record AdapterEmbedding(string Name, string Key, string Component, IReadOnlyList<long> Shape)
{
    /// <summary>Where our own files say the word, since the conventions with fixed keys have no place for it.</summary>
    public const string TokenMetadata = "lowrank.token";

    /// <summary>sd-scripts' files for one encoder.</summary>
    public const string SingleKey = "emb_params";

    private const string Bundle = "bundle_emb.";

    /// <summary>Where the web UIs' pickled embeddings keep their vectors.</summary>
    public const string WebUi = "string_to_param.";

    /// <summary>Keys of files that hold one embedding, and the encoder each is for: sd-scripts, and the two encoders of SDXL.</summary>
    private static readonly Dictionary<string, string> WholeFileKeys = new() { [SingleKey] = "text_encoder", ["clip_l"] = "text_encoder", ["clip_g"] = "text_encoder_2" };

    /// <summary>The key that a bundle in an adapter file has for a token.</summary>
    /// <param name="token">The word.</param>
    /// <param name="component">text_encoder, text_encoder_2.</param>
    /// <param name="alone">Whether it has vectors for one encoder only.</param>
    public static string BundleKey(string token, string component, bool alone) =>
        $"{Bundle}{token}.{(alone && component == "text_encoder" ? WebUi + "*" : component == "text_encoder" ? "clip_l" : "clip_g")}";

    /// <summary>The embedding behind a key that no adapter convention has; null when it looks like none.</summary>
    internal static AdapterEmbedding? Of(ITensorFile file, string key)
    {
        var info = file.Tensors[key];
        if (!IsEmbeddingKey(file, key) || info.Shape.Count is not (1 or 2)) return null;
        var (name, part) = NameOf(file, key);
        return new AdapterEmbedding(name, key, WholeFileKeys.GetValueOrDefault(part, "text_encoder"), info.Shape);
    }

    /// <summary>Whether a key is an embedding's: bundled, marked in the metadata, a placeholder token, or one of the known single names.</summary>
    internal static bool IsEmbeddingKey(ITensorFile file, string key) =>
        key.StartsWith(Bundle, StringComparison.Ordinal) || key.StartsWith(WebUi, StringComparison.Ordinal)
        || file.Metadata.GetValueOrDefault(key) == "<embed>"
        || (key.StartsWith('<') && key.EndsWith('>'))
        || WholeFileKeys.ContainsKey(key)
        || (file.Tensors.Count == 1 && file.Tensors[key].Shape.Count is 1 or 2 && !key.Contains('.', StringComparison.Ordinal));

    /// <summary>The word, and what is left of the key: the part that names the encoder.</summary>
    private static (string Name, string Part) NameOf(ITensorFile file, string key)
    {
        if (key.StartsWith(Bundle, StringComparison.Ordinal))
        {
            var inner = key[Bundle.Length..];
            var ending = inner.IndexOf('.' + WebUi, StringComparison.Ordinal);
            if (ending < 0) ending = inner.LastIndexOf('.');
            return ending > 0 ? (inner[..ending], inner[(ending + 1)..]) : (inner, "");
        }
        if (!WholeFileKeys.ContainsKey(key) && !key.StartsWith(WebUi, StringComparison.Ordinal)) return (key, "");
        var said = file.Metadata.GetValueOrDefault(TokenMetadata) ?? (file as PickleTensorReader)?.Values.GetValueOrDefault("name") as string;
        return (string.IsNullOrWhiteSpace(said) ? Path.GetFileNameWithoutExtension(file.Path) : said, key);
    }
}
