using static TorchSharp.torch;

namespace LowRank.Adapters.Formats;

/// <summary>The learned tokens of an adapter's file on their way to another convention.</summary>
internal sealed class ConvertedEmbeddings(AdapterFile file, WrittenConvention to)
{
    /// <summary>Those that the convention has a place for, and the others.</summary>
    public (IReadOnlyList<AdapterEmbedding> Held, IReadOnlyList<AdapterEmbedding> Beside) Split()
    {
        var held = file.Embeddings.GroupBy(item => item.Name).Where(group => to == WrittenConvention.Kohya || (to == WrittenConvention.Legacy && FitsIn2022([.. group]))).SelectMany(group => group).ToList();
        return (held, [.. file.Embeddings.Except(held)]);
    }

    /// <summary>The parts with the tokens that they hold: kohya's as a bundle (AUTOMATIC1111/stable-diffusion-webui, pull request 13568), the package's by their word, or as a dictionary of its own beside lists.</summary>
    /// <param name="parts">Of the adapter.</param>
    /// <param name="file">Where the vectors are.</param>
    /// <param name="held">The tokens.</param>
    /// <param name="lists">Whether parts are lists.</param>
    /// <param name="stored">Values, their own type and key, to what is written.</param>
    public static List<ConvertedPart> Add(List<ConvertedPart> parts, AdapterFile file, IReadOnlyList<AdapterEmbedding> held, bool lists, Func<Tensor, ScalarType, string, bool, Tensor> stored)
    {
        var bundled = parts[0].Metadata.Count == 0;
        var counts = held.GroupBy(item => item.Name).ToDictionary(group => group.Key, group => group.Count());
        var tensors = held.Select(item =>
        {
            var key = bundled ? AdapterEmbedding.BundleKey(item.Name, item.Component, alone: counts[item.Name] == 1) : item.Name;
            var values = file.Read(item);
            return KeyValuePair.Create(key, stored(bundled ? values.view(-1, values.shape[^1]) : values.view(-1), values.dtype, key, false));
        }).ToList();
        if (lists) return [.. parts, new ConvertedPart(TokenPart, tensors, new Dictionary<string, string>())];
        var marks = bundled ? [] : held.Select(item => KeyValuePair.Create(item.Name, "<embed>"));
        return [parts[0] with { Tensors = [.. parts[0].Tensors, .. tensors], Metadata = parts[0].Metadata.Concat(marks).ToDictionary() }];
    }

    /// <summary>The part of a list's tokens, by the package's file names.</summary>
    public const string TokenPart = "ti";

    /// <summary>The package takes one vector a token, of the first text encoder, and reads keys up to their first colon.</summary>
    private static bool FitsIn2022(IReadOnlyList<AdapterEmbedding> token) => token is [{ Component: "text_encoder" } one] && (one.Shape.Count == 1 || one.Shape[0] == 1)
        && !one.Name.Contains(':', StringComparison.Ordinal) && !one.Name.StartsWith("unet", StringComparison.Ordinal) && !one.Name.StartsWith("text_encoder", StringComparison.Ordinal);
}
