using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>The networks of a model as names and shapes, without memory: what adapters are fitted to where no weight is needed. Owns its modules.</summary>
internal sealed class ModelOutline : IDisposable
{
    private readonly Dictionary<string, nn.Module> components;

    private ModelOutline(string title, Dictionary<string, nn.Module> components) => (Title, this.components) = (title, components);

    /// <summary>The model in words, for messages.</summary>
    public string Title { get; }

    /// <summary>Denoiser and text encoders, by the names of their folders.</summary>
    public IReadOnlyDictionary<string, nn.Module> Components => components;

    /// <summary>Of a published model.</summary>
    public static ModelOutline Of(PublishedModel model) => Of(model.Title, model.Parts, name => (model.File($"{name}/config.json"), $"{model.Name}/{name}/config.json"));

    /// <summary>Of a model that is there: its configurations are read, no weights.</summary>
    /// <param name="model">As for <see cref="FamilyDetector.Open"/>.</param>
    /// <param name="options">As there.</param>
    /// <exception cref="CheckpointException">There is no such model, or a value of a configuration is not supported.</exception>
    public static ModelOutline Of(string model, ModelFileOptions? options = null)
    {
        var files = ModelFiles.At(FamilyDetector.Find(model), options);
        return Of(model, files.Named.Where(part => files.Has(part.Name)), files.Configuration);
    }

    /// <summary>Whether a part is one that adapters change: the denoiser, or a text encoder.</summary>
    public static bool Knows(string part) => part is "unet" or "text_encoder" or "text_encoder_2";

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var module in components.Values) module.Dispose();
        components.Clear();
    }

    private static ModelOutline Of(string title, IEnumerable<(string Name, string Class)> parts, Func<string, (byte[] Json, string Path)> configuration)
    {
        var outline = new ModelOutline(title, []);
        try
        {
            foreach (var (name, kind) in parts.Where(part => Knows(part.Name)))
            {
                var (json, path) = configuration(name);
                if (ModelCheck.Outline(kind, json, path) is { } module) outline.components[name] = module;
            }
            return outline;
        }
        catch
        {
            outline.Dispose();
            throw;
        }
    }
}
