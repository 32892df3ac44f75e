using LowRank.Foundation;
using LowRank.Text;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>One part of a model that has weights.</summary>
/// <param name="Name">Its folder.</param>
/// <param name="File">What its weights' file is called.</param>
/// <param name="Model">The network; loads it.</param>
/// <param name="IsLoaded">Whether it is in memory.</param>
/// <param name="Release">Lets it go.</param>
internal sealed record WeighedPart(string Name, string File, Func<nn.Module> Model, Func<bool> IsLoaded, Action Release)
{
    /// <summary>As diffusers calls the files of its own networks, and as transformers does.</summary>
    public const string DiffusersFile = "diffusion_pytorch_model.safetensors", TransformersFile = "model.safetensors";

    /// <summary>Replaces weights, by key in float32, in what is written; null for none. The network stays as it is.</summary>
    public Action<Dictionary<string, Tensor>>? Change { get; init; }

    /// <summary>Changes the copy of its config.json, whose path it is given (<see cref="ModelFiles.SetKey"/>); null: it stays a copy.</summary>
    public Action<string>? Configure { get; init; }
}

/// <summary>Writes a model in the layout that it was opened from: what is no weight is copied, weights are written as they are in memory.</summary>
internal static class ModelWriter
{
    /// <param name="from">Where the model was opened.</param>
    /// <param name="parts">Its networks. Those that are not in memory are loaded for the time being.</param>
    /// <param name="target">The folder; replaced where it exists, and there whole or not at all.</param>
    /// <param name="type">Element type of all weights.</param>
    /// <param name="facts">Metadata of the files.</param>
    /// <param name="tokenizers">Tokenizers that were built, by folder.</param>
    /// <param name="pipeline">The pipeline class that the index shall name; null: the one it names.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public static void Write(ModelFiles from, IReadOnlyList<WeighedPart> parts, string target, ScalarType type, IReadOnlyDictionary<string, string> facts, IReadOnlyDictionary<string, BuiltTokenizer> tokenizers, string? pipeline = null) => WholeFolder.Write(target, folder =>
    {
        from.CopyIndexTo(folder, pipeline);
        foreach (var name in from.PartNames)
        {
            var copy = Path.Combine(folder, name);
            var weighed = parts.FirstOrDefault(part => part.Name == name);
            from.CopyTo(name, copy, weights: weighed is null);
            if (weighed is not null)
            {
                weighed.Configure?.Invoke(Path.Combine(copy, "config.json"));
                if (weighed.IsLoaded() || from.HasWeights(name)) Write(weighed, Path.Combine(copy, weighed.File), type, facts);   // a model that is made part by part has none for the parts to come
            }
        }
        foreach (var (name, tokenizer) in tokenizers) tokenizer.Write(Path.Combine(folder, name));
    });

    private static void Write(WeighedPart part, string file, ScalarType type, IReadOnlyDictionary<string, string> facts)
    {
        var present = part.IsLoaded();
        using (var scope = NewDisposeScope())
        using (no_grad())
        {
            var weights = part.Model().state_dict();
            part.Change?.Invoke(weights);
            SafetensorsWriter.Write(file, weights.Select(item => KeyValuePair.Create(item.Key, item.Value.to(type))), facts.Append(new("format", "pt")));   // transformers reads no file without it
        }
        if (!present) part.Release();
    }
}
