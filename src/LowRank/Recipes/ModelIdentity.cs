using System.Security.Cryptography;
using LowRank.Adapters;
using LowRank.Families;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>Names the weights that cached latents and text states come from.</summary>
/// <param name="Pictures">Of the autoencoder, which is always fp32.</param>
/// <param name="Texts">Of text encoders and tokenizers, with their precision and clip skip.</param>
internal sealed record ModelIdentity(string Pictures, string Texts)
{
    /// <summary>By content where results outlive the run, so that another model under the same name is another model; reads its files once (1 GB: about a second).</summary>
    public static ModelIdentity Of(IRunOptions options)
    {
        if (options.Training.Cache == CacheKind.Memory) return new ModelIdentity(options.Model, options.Model);
        var folder = FamilyDetector.Find(options.Model);
        return new ModelIdentity(HashOf(folder, "vae"), $"{HashOf(folder, "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")} {options.Training.Precision} {options.Training.ClipSkip}");
    }

    /// <summary>The same for texts in which these learned tokens, as they are now, may stand.</summary>
    public ModelIdentity WithTokens(EmbeddingSet tokens)
    {
        using var scope = TorchSharp.torch.NewDisposeScope();
        return this with { Texts = $"{Texts} {Convert.ToHexStringLower(SHA256.HashData(tokens.FlatParameters.cpu().contiguous().bytes))}" };
    }

    /// <summary>Hash of all files in these parts of a model.</summary>
    public static string HashOf(string model, params string[] parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var folder in parts.Select(part => Path.Combine(model, part)).Where(Directory.Exists))
        {
            foreach (var file in Directory.GetFiles(folder).Order(StringComparer.Ordinal))
            {
                hash.AppendData(System.Text.Encoding.UTF8.GetBytes(Path.GetRelativePath(model, file).Replace('\\', '/')));
                hash.AppendData(Convert.FromHexString(CacheKey.OfFile(file)));
            }
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
