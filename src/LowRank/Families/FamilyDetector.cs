using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Hub;
using LowRank.Models.Layers;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>Finds out what a model is and opens it.</summary>
public static class FamilyDetector
{
    private static readonly string[] EmbeddedModels = ["icons-64"];

    private static readonly Dictionary<string, Func<ModelFiles, LayerFactory, IDiffusionFamily>> Families = new()
    {
        ["StableDiffusionPipeline"] = (folder, placement) => new StableDiffusion(folder, placement),
        ["StableDiffusionImg2ImgPipeline"] = (folder, placement) => new StableDiffusion(folder, placement),
        ["StableDiffusionInpaintPipeline"] = (folder, placement) => new StableDiffusion(folder, placement),
        ["StableDiffusionXLPipeline"] = (folder, placement) => new StableDiffusionXL(folder, placement),
        ["StableDiffusionXLImg2ImgPipeline"] = (folder, placement) => new StableDiffusionXL(folder, placement),
        ["StableDiffusionXLInpaintPipeline"] = (folder, placement) => new StableDiffusionXL(folder, placement),
    };

    /// <summary>
    /// Opens a model: reads its configurations and checks that they fit each other; weights are loaded when first used.
    /// What was found is in the family's <see cref="IDiffusionFamily.Description"/>.
    /// </summary>
    /// <param name="model">A folder in the diffusers layout, a checkpoint of one file in the original layout (<c>.safetensors</c>, <c>.ckpt</c>), <c>icons-64</c>, the embedded base, or <c>org/name[@revision]</c>, a model of the hub that is in the cache.</param>
    /// <param name="type">
    /// Base dtype of denoiser and text encoders, whatever the files hold: float32, or bfloat16 for half the memory and, where the processor knows it, half the time.
    /// The autoencoder is always float32.
    /// </param>
    /// <param name="device">Where the model runs; null: the CPU.</param>
    /// <param name="widen">
    /// Whether to give the denoiser the input channels of an inpainting model, with zero weights: it predicts as before until it is trained, as Stable Diffusion's
    /// own inpainting model began (model card of runwayml/stable-diffusion-inpainting).
    /// </param>
    /// <param name="files">How its files are read, where they do not say it themselves; null: as usual.</param>
    /// <returns>The caller disposes it.</returns>
    /// <exception cref="CheckpointException">There is no such model, a part is missing, or a configuration has a value that is not supported: file, key and value are named.</exception>
    /// <exception cref="OptionsException">The dtype is neither float32 nor bfloat16.</exception>
    public static IDiffusionFamily Open(string model, ScalarType type = ScalarType.Float32, Device? device = null, bool widen = false, ModelFileOptions? files = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        if (type is not (ScalarType.Float32 or ScalarType.BFloat16)) throw new OptionsException($"precision: {type} is not supported; use Float32 or BFloat16 (float16 files are converted when loaded)");
        return FamilyOf(ModelFiles.At(Find(model), files, widen), new LayerFactory(device ?? CPU, type));
    }

    /// <summary>Opens a model that is to be made, on the CPU: weights and tokenizers need not be there (<see cref="IDiffusionFamily.DrawWeights"/>).</summary>
    /// <param name="model">A folder in the diffusers layout with the configurations of all parts.</param>
    /// <param name="type">As for <see cref="Open"/>.</param>
    /// <param name="widen">As for <see cref="Open"/>.</param>
    /// <param name="words">Gives the words that tokenizers are built from where there are none, and how often each was met.</param>
    /// <param name="files">As for <see cref="Open"/>.</param>
    internal static IDiffusionFamily OpenToMake(string model, ScalarType type, bool widen, Func<IReadOnlyDictionary<string, long>> words, ModelFileOptions? files = null) => FamilyOf(ModelFiles.At(Find(model), files, widen, words), new LayerFactory(CPU, type));

    /// <summary>Checks that a model's parts are there, and what they must agree in. Loads nothing.</summary>
    /// <exception cref="CheckpointException">As for <see cref="Open"/>.</exception>
    internal static void RequireFit(ModelFiles model)
    {
        using var family = FamilyOf(model, LayerFactory.Meta);
    }

    private static IDiffusionFamily FamilyOf(ModelFiles folder, LayerFactory placement)
    {
        RequireFamily(folder);
        return Families[folder.PipelineClass](folder, placement);
    }

    /// <summary>Whether a model is of a kind that is known, by its index alone: before the rest of it is downloaded.</summary>
    /// <param name="folder">Holds <c>model_index.json</c>.</param>
    /// <exception cref="CheckpointException">It is not.</exception>
    internal static void RequireFamily(string folder) => RequireFamily(ModelFiles.At(folder));

    private static void RequireFamily(ModelFiles folder)
    {
        if (Families.ContainsKey(folder.PipelineClass)) return;
        throw folder.Refuse(ModelFiles.IndexName, $"unsupported value: _class_name is \"{folder.PipelineClass}\"", $"supported: {string.Join(", ", Families.Keys)}");
    }

    /// <summary>The folder or file of a model: the path itself, or an embedded model's place.</summary>
    /// <param name="model">As for <see cref="Open"/>.</param>
    /// <exception cref="CheckpointException">There is no such model.</exception>
    internal static string Find(string model)
    {
        if (Path.Exists(model)) return Path.GetFullPath(model);
        if (EmbeddedModels.Contains(model)) return EmbeddedFolder.Find(model);
        if (ModelStore.Find(model) is { } cached) return cached;
        throw new CheckpointException($"no model is there; {model}{NearestName.Hint(model, EmbeddedModels)}; name a folder that holds model_index.json, a checkpoint of one file (.safetensors, .ckpt), or an embedded model: {string.Join(", ", EmbeddedModels)}");
    }
}
