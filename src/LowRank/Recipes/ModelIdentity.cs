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
        return new ModelIdentity(HashOf(options.Model, options.ModelFile, "vae"), $"{HashOf(options.Model, options.ModelFile, "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")} {options.Training.Precision} {options.Training.ClipSkip}");
    }

    /// <summary>The same for texts in which these learned tokens, as they are now, may stand.</summary>
    public ModelIdentity WithTokens(EmbeddingSet tokens)
    {
        using var scope = TorchSharp.torch.NewDisposeScope();
        return this with { Texts = $"{Texts} {Convert.ToHexStringLower(SHA256.HashData(tokens.FlatParameters.cpu().contiguous().bytes))}" };
    }

    /// <summary>Hash of all files of these parts of a model.</summary>
    /// <param name="model">As for <see cref="FamilyDetector.Open"/>.</param>
    /// <param name="options">As there.</param>
    /// <param name="parts">Those that it lacks are passed over.</param>
    public static string HashOf(string model, ModelFileOptions? options, params string[] parts)
    {
        var files = ModelFiles.At(FamilyDetector.Find(model), options);
        return HashOf(parts.SelectMany(files.FilesOf));
    }

    /// <summary>Hash of files and what they are called.</summary>
    public static string HashOf(IEnumerable<(string Name, string File)> files)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var known = new Dictionary<string, byte[]>();
        foreach (var (name, file) in files)
        {
            hash.AppendData(System.Text.Encoding.UTF8.GetBytes(name));
            if (!known.TryGetValue(file, out var content)) known[file] = content = Convert.FromHexString(CacheKey.OfFile(file));   // one file may be all parts
            hash.AppendData(content);
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
