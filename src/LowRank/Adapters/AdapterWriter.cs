using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>Writes adapters as files that other tools load.</summary>
public static class AdapterWriter
{
    /// <summary>Writes a <c>.safetensors</c> file, whole or not at all. Strength plays no part: the file holds the adapter as trained.</summary>
    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="adapter">Attached or not.</param>
    /// <param name="options">Convention, element type, and what the metadata says; null for the defaults.</param>
    /// <exception cref="CheckpointException">A number is not finite or does not fit the element type, or the file cannot be written.</exception>
    public static void Write(string path, AdapterSet adapter, AdapterSaveOptions? options = null) => Write(path, adapter.Layers, adapter.Names, options ?? new());

    /// <summary>The same for layers that are in no set: those that were computed, not trained.</summary>
    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="layers">At least one; their tensors stay the caller's.</param>
    /// <param name="names">Of the model that they lie in.</param>
    /// <param name="options">As above.</param>
    /// <exception cref="CheckpointException">As above.</exception>
    internal static void Write(string path, IReadOnlyList<AdapterLayer> layers, ModuleNames names, AdapterSaveOptions options)
    {
        var type = options.Type is StoredType.F16 or StoredType.BF16 or StoredType.F32
            ? options.Type.ToScalarType()
            : throw new ArgumentException($"adapters are written as F16, BF16 or F32, not {options.Type}", nameof(options));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var tensors = layers.SelectMany(layer => Parameters(layer, names, options.Format, type)).ToList();
        tensors.AddRange(EmbeddingWriter.Bundle(path, options.Embeddings, type));
        Refuse(path, tensors, options.Type);
        var metadata = AdapterMetadata.Of(layers, options, options.Title ?? Path.GetFileNameWithoutExtension(path));
        if (options.Format == AdapterFormat.Kohya)
        {
            foreach (var (key, hash) in AdapterHashes.Of(tensors, metadata)) metadata[key] = hash;
        }
        SafetensorsWriter.Write(path, tensors, metadata);
    }

    private static IEnumerable<KeyValuePair<string, Tensor>> Parameters(AdapterLayer layer, ModuleNames names, AdapterFormat format, ScalarType type)
    {
        var (name, parameters) = format == AdapterFormat.Kohya
            ? (layer.Target.Kind.KohyaName(names.Kohya(layer.Component, layer.Path)), layer.Target.Kind.Kohya(layer))
            : (ModuleNames.Peft(layer.Component, layer.Path), layer.Target.Kind.Peft(layer));
        return parameters.Select(item => KeyValuePair.Create($"{name}.{item.Parameter}", item.Tensor.to(type)));
    }

    private static void Refuse(string path, List<KeyValuePair<string, Tensor>> tensors, StoredType type)
    {
        var bad = tensors.Where(item => !item.Value.isfinite().all().item<bool>()).Select(item => item.Key).ToList();
        if (bad.Count == 0) return;
        var what = string.Create(CultureInfo.InvariantCulture, $"{bad.Count} of {tensors.Count} tensors are not finite as {type}: {AdapterFile.Some(bad)}");
        var advice = type == StoredType.F16 ? "F16 holds numbers up to 65504: write BF16 or F32; if that fails too, the training diverged" : "the training diverged; use an earlier save";
        throw new CheckpointException($"the adapter is not written: {what}; {path}; {advice}");
    }
}
