using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Hub;
using LowRank.Models;
using LowRank.Models.Layers;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>Looks at every part of a model's folder by itself, and at what the parts must agree in: finds all that is wrong, where opening the model stops at the first.</summary>
internal static class ModelCheck
{
    private const int Shown = 10;

    /// <summary>How a class is built without memory from its configuration, and the module's key for a name in its file.</summary>
    private sealed record Weighed(Func<byte[], string, nn.Module> Build, Func<string, string?> KeyOf, bool NeedsFormat = false);

    private static readonly Dictionary<string, Weighed> Classes = new()
    {
        ["UNet2DConditionModel"] = new((json, path) => new UNet2DConditionModel(UNet2DConditionConfig.Parse(json, path), LayerFactory.Meta), name => name),
        ["AutoencoderKL"] = new((json, path) => new AutoencoderKL(AutoencoderKLConfig.Parse(json, path), LayerFactory.Meta), AutoencoderKL.PresentKey),
        ["CLIPTextModel"] = new((json, path) => new ClipTextModel(ClipTextConfig.Parse(json, path), projection: false, LayerFactory.Meta), ClipTextModel.KeyOf, NeedsFormat: true),
        ["CLIPTextModelWithProjection"] = new((json, path) => new ClipTextModel(ClipTextConfig.Parse(json, path), projection: true, LayerFactory.Meta), ClipTextModel.KeyOf, NeedsFormat: true),
    };

    /// <summary>The parts that the index names, each looked at: folder, configuration, names and shapes of weights, and every number of them.</summary>
    /// <param name="model">The model.</param>
    public static IReadOnlyList<ModelPart> Parts(ModelFiles model)
    {
        var parts = model.Named.Where(item => !IsLeftOut(model, item.Name)).Select(item => new ModelPart(item.Name, item.Class)).ToList();
        foreach (var part in parts) part.Trouble = [.. Look(part, model)];
        return parts;
    }

    /// <summary>The names of a part's tensors in the layout of diffusers, by its configuration.</summary>
    /// <param name="model">The model.</param>
    /// <param name="part">One with weights.</param>
    /// <exception cref="CheckpointException">A value of the configuration is not supported.</exception>
    public static IReadOnlyCollection<string> KeysOf(ModelFiles model, string part)
    {
        var (json, path) = model.Configuration(part);
        using var module = Outline(model.Part(part), json, path) ?? throw new InvalidOperationException($"{part} has no weights");
        return [.. module.state_dict().Keys];
    }

    /// <summary>Whether a class is a network that is known here.</summary>
    public static bool HasNetwork(string kind) => Classes.ContainsKey(kind);

    /// <summary>A network without memory, of names and shapes only.</summary>
    /// <param name="kind">Class of the part, as an index names it.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="path">Where that is, for messages.</param>
    /// <returns>The caller disposes it; null for a class that has no weights here.</returns>
    /// <exception cref="CheckpointException">A value of the configuration is not supported.</exception>
    public static nn.Module? Outline(string kind, byte[] config, string path) => Classes.TryGetValue(kind, out var weighed) ? weighed.Build(config, path) : null;

    /// <summary>A module's key for a name in its file; null for a tensor that the module does not need, or a class that has no weights here.</summary>
    /// <param name="kind">Class of the part, as an index names it.</param>
    /// <param name="name">In its file.</param>
    public static string? KeyOf(string kind, string name) => Classes.TryGetValue(kind, out var weighed) ? weighed.KeyOf(name) : null;

    /// <summary>Ids that a text encoder expects of its tokenizer, and what the tokenizer gives.</summary>
    public static IEnumerable<string> TokenTrouble(IDiffusionFamily family)
    {
        foreach (var encoder in family is UnetFamily unet ? unet.Encoders : [])
        {
            var (config, tokenizer) = (encoder.Config, encoder.Tokenizer);
            if (config.EosTokenId == ClipTextModel.LargestId)
            {
                if (tokenizer.EndId != tokenizer.IdCount - 1) yield return Invariant($"{encoder.Part} pools at the largest id (eos_token_id is {ClipTextModel.LargestId}), which is {tokenizer.IdCount - 1}; {encoder.TokenizerName} ends prompts with {tokenizer.EndId}");
                continue;   // such configurations name no ids of their own
            }
            if (config.EosTokenId != tokenizer.EndId) yield return Invariant($"eos_token_id of {encoder.Part} is {config.EosTokenId}; {encoder.TokenizerName} ends prompts with {tokenizer.EndId}");
            if (config.Unread?.GetValueOrDefault("bos_token_id") is { ValueKind: JsonValueKind.Number } start && start.GetInt64() != tokenizer.StartId)
            {
                yield return Invariant($"bos_token_id of {encoder.Part} is {start.GetInt64()}; {encoder.TokenizerName} begins prompts with {tokenizer.StartId}");
            }
        }
    }

    /// <summary>A part that was not downloaded since nothing here opens it: the programs that do fetch it into the cache themselves.</summary>
    private static bool IsLeftOut(ModelFiles model, string part) => HubCache.IsSnapshot(model.Path) && PipelineFiles.LeftOut.Contains(part) && !model.Has(part);

    private static IEnumerable<string> Look(ModelPart part, ModelFiles model)
    {
        if (!model.Has(part.Name)) return [model is SingleFile ? $"no {part.Name} was found" : $"the folder {part.Name} is missing"];
        if (!Classes.TryGetValue(part.Class, out var weighed)) return model is SingleFile ? [] : LookFromOutside(model.PlaceOf(part.Name));
        try
        {
            var (json, path) = model.Configuration(part.Name);
            using var module = weighed.Build(json, path);
            using var weights = model.OpenWeights(part.Name);
            Describe(part, weights);
            return [.. Misfits(weights, module, weighed, model), .. Numbers(weights)];
        }
        catch (CheckpointException problem)
        {
            return [problem.Message];
        }
    }

    /// <summary>A part of a class that is not known here: what has a configuration of a network must have weights.</summary>
    private static IEnumerable<string> LookFromOutside(string folder)
    {
        if (!Directory.EnumerateFileSystemEntries(folder).Any()) return ["the folder is empty"];
        return File.Exists(Path.Combine(folder, "config.json")) && ComponentFiles.FindIn(folder) is null ? [$"it has a config.json and no weights; in {folder}; copy the whole model again"] : [];
    }

    private static void Describe(ModelPart part, Checkpoint weights)
    {
        var infos = weights.Names.Select(weights.Info).ToList();
        part.File = weights.Path;
        part.Tensors = infos.Count;
        part.Numbers = infos.Sum(info => info.Shape.Aggregate(1L, (product, size) => product * size));
        part.Bytes = infos.Sum(info => info.Length);
        part.Types = [.. infos.GroupBy(info => info.Type).OrderByDescending(group => group.Count()).Select(group => group.Key.ToString())];
    }

    private static List<string> Misfits(Checkpoint weights, nn.Module module, Weighed weighed, ModelFiles model)
    {
        var trouble = new List<string>();
        try
        {
            weights.RequireFit(module, weighed.KeyOf);
        }
        catch (CheckpointException problem)
        {
            trouble.Add(problem.Message);
        }
        if (weighed.NeedsFormat && model is DiffusersFolder && weights.Path.EndsWith(".safetensors", StringComparison.Ordinal) && !weights.Metadata.ContainsKey("format"))
        {
            trouble.Add($"the metadata has no \"format\", without which transformers does not load the file; in {weights.Path}; save it with the metadata format = \"pt\"");
        }
        return trouble;
    }

    /// <summary>Reads all weights once.</summary>
    private static IEnumerable<string> Numbers(Checkpoint weights)
    {
        var (broken, most) = (new List<string>(), 0f);
        foreach (var name in weights.Names)
        {
            using var scope = NewDisposeScope();
            using var quiet = no_grad();
            var values = weights.Map(name);
            if (values.numel() == 0 || !values.is_floating_point()) continue;
            var largest = values.abs().amax([.. Enumerable.Range(0, (int)values.dim()).Select(at => (long)at)]).to(ScalarType.Float32).item<float>();   // none where one is none
            if (!float.IsFinite(largest)) broken.Add(Invariant($"{name} ({values.isfinite().logical_not().sum().item<long>()} of {values.numel()})"));
            else most = Math.Max(most, largest);
        }
        if (broken.Count > 0) yield return Invariant($"{broken.Count} tensors have numbers that are not finite: {string.Join(", ", broken.Take(Shown))}{(broken.Count > Shown ? ", …" : "")}; in {weights.Path}");
        else if (most == 0) yield return $"every number is 0: the weights were never written; in {weights.Path}";
    }
}
