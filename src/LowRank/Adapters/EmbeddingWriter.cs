using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>Forms in which learned tokens are written.</summary>
public enum EmbeddingFormat
{
    /// <summary><c>.safetensors</c> with <c>emb_params</c>, or <c>clip_l</c> and <c>clip_g</c> for two text encoders: A1111, Forge, ComfyUI, sd-scripts. The file's name is the word there.</summary>
    A1111,

    /// <summary>A1111's own <c>.pt</c>; for models with one text encoder.</summary>
    A1111Pt,

    /// <summary>diffusers' <c>.safetensors</c>, where the key is the word; two text encoders as <c>clip_l</c> and <c>clip_g</c>, which diffusers loads one by one.</summary>
    Diffusers,
}

/// <summary>Writes learned tokens as files that other tools load.</summary>
internal static class EmbeddingWriter
{
    /// <summary>The ending of a form's files: .safetensors or .pt.</summary>
    public static string Ending(EmbeddingFormat format) => format == EmbeddingFormat.A1111Pt ? ".pt" : ".safetensors";

    /// <summary>A word as a file's name: letters, digits, - and _ of it; "token" where nothing is left.</summary>
    public static string FileName(string token)
    {
        var kept = new string([.. token.Select(letter => char.IsLetterOrDigit(letter) || letter is '-' or '_' ? letter : ' ')]).Trim().Replace(' ', '-');
        return kept.Length > 0 ? kept : "token";
    }

    /// <summary>Writes one learned token, whole or not at all.</summary>
    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="embedding">The token; stays the caller's.</param>
    /// <param name="format">The form.</param>
    /// <param name="type">F16, BF16 or F32.</param>
    /// <param name="metadata">More to say in a <c>.safetensors</c> file; null for nothing.</param>
    /// <exception cref="CheckpointException">Numbers that are not finite, two text encoders in a <c>.pt</c>, or a file that cannot be written.</exception>
    public static void Write(string path, Embedding embedding, EmbeddingFormat format = EmbeddingFormat.A1111, StoredType type = StoredType.F32, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var only = embedding.Vectors.Count == 1 && embedding.Vectors.TryGetValue("text_encoder", out var single) ? Stored(path, embedding.Token, single, type) : null;
        if (format == EmbeddingFormat.A1111Pt)
        {
            if (only is null) throw new CheckpointException($"the embedding {embedding.Token} is not written: A1111's .pt has no place for a second text encoder; {path}; write it as .safetensors (format a1111)");
            TorchFileWriter.WriteEmbedding(path, embedding.Token, only);
            return;
        }
        var tensors = only is not null
            ? [new(format == EmbeddingFormat.Diffusers ? embedding.Token : AdapterEmbedding.SingleKey, only)]
            : embedding.Vectors.Select(item => new KeyValuePair<string, Tensor>(item.Key == "text_encoder" ? "clip_l" : "clip_g", Stored(path, embedding.Token, item.Value, type))).ToList();
        SafetensorsWriter.Write(path, tensors, [.. metadata ?? new Dictionary<string, string>(), new(AdapterEmbedding.TokenMetadata, embedding.Token)]);
    }

    /// <summary>The tensors of learned tokens in an adapter's file (sd-scripts' bundle), which any number of tokens can share. In the caller's scope.</summary>
    internal static IEnumerable<KeyValuePair<string, Tensor>> Bundle(string path, IEnumerable<Embedding> embeddings, ScalarType type)
    {
        foreach (var embedding in embeddings)
        {
            foreach (var (component, vectors) in embedding.Vectors)
            {
                yield return new(AdapterEmbedding.BundleKey(embedding.Token, component, embedding.Vectors.Count == 1), Stored(path, embedding.Token, vectors, type.ToStoredType()));
            }
        }
    }

    private static Tensor Stored(string path, string token, Tensor vectors, StoredType type)
    {
        var stored = vectors.detach().to(type is StoredType.F16 or StoredType.BF16 or StoredType.F32 ? type.ToScalarType() : throw new ArgumentException($"embeddings are written as F16, BF16 or F32, not {type}", nameof(type)));
        if (stored.isfinite().all().item<bool>()) return stored;
        throw new CheckpointException($"the embedding {token} is not written: it has numbers that are not finite as {type}; {path}; the training diverged: use an earlier save");
    }
}
