using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>The weights of a model's networks under the keys of their modules, read one at a time: a model never lies in memory as a whole. Owns the open files.</summary>
internal sealed class ModelWeights : IDisposable
{
    private readonly Dictionary<string, (Checkpoint File, Dictionary<string, string> Names)> parts = [];

    private ModelWeights(string model) => Model = model;

    /// <summary>The model as it was named.</summary>
    public string Model { get; }

    /// <summary>Denoiser and text encoders whose weights are there.</summary>
    public IReadOnlyCollection<string> Components => parts.Keys;

    /// <summary>Opens the files of denoiser and text encoders; reads headers only.</summary>
    /// <param name="model">As for <see cref="FamilyDetector.Open"/>.</param>
    /// <param name="options">As there.</param>
    /// <exception cref="CheckpointException">There is no such model, or a part has no weights.</exception>
    public static ModelWeights Open(string model, ModelFileOptions? options = null)
    {
        var folder = ModelFiles.At(FamilyDetector.Find(model), options);
        var weights = new ModelWeights(model);
        try
        {
            foreach (var (name, kind) in folder.Named.Where(part => ModelOutline.Knows(part.Name)))
            {
                folder.Weights(name);
                var file = folder.OpenWeights(name);
                weights.parts[name] = (file, []);
                foreach (var stored in file.Names)
                {
                    if (ModelCheck.KeyOf(kind, stored) is { } key) weights.parts[name].Names[key] = stored;
                }
            }
            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>The open files, or indexes of several.</summary>
    public IEnumerable<string> Files => parts.Values.Select(part => part.File.Path);

    /// <summary>Checks that it has these parts.</summary>
    /// <exception cref="CheckpointException">It lacks one.</exception>
    public void RequireParts(IEnumerable<string> wanted)
    {
        if (wanted.FirstOrDefault(part => !parts.ContainsKey(part)) is { } missing) throw new CheckpointException($"the model has no {missing}, only {string.Join(", ", parts.Keys)}; {Model}; leave that part out, or give a model with it");
    }

    /// <summary>Keys of a part's weights.</summary>
    public IEnumerable<string> KeysOf(string component) => parts[component].Names.Keys;

    /// <summary>Sizes of a weight; null where there is none.</summary>
    public IReadOnlyList<long>? ShapeOf(string component, string key) => Has(component, key) ? parts[component].File.Info(parts[component].Names[key]).Shape : null;

    /// <summary>Whether a part has a weight.</summary>
    public bool Has(string component, string key) => parts.TryGetValue(component, out var part) && part.Names.ContainsKey(key);

    /// <summary>A weight in the type it is stored in, over the file's memory where that goes. The caller owns it.</summary>
    /// <param name="component">unet, text_encoder, ….</param>
    /// <param name="key">Of the module's state: <c>mid_block.attentions.0.proj_in.weight</c>.</param>
    /// <exception cref="CheckpointException">There is none.</exception>
    public Tensor Map(string component, string key)
    {
        RequireParts([component]);
        var part = parts[component];
        return part.Names.TryGetValue(key, out var name) ? part.File.Map(name) : throw TensorFile.Refuse(part.File.Path, $"no tensor is the weight \"{key}\" of {component}{NearestName.Hint(key, part.Names.Keys)}", "use the weights and the configuration of one model");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (file, _) in parts.Values) file.Dispose();
        parts.Clear();
    }
}
