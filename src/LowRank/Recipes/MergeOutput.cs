using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>Writes a merged model in the layout of the model that it comes from.</summary>
internal static class MergeOutput
{
    private const string Merged = "lowrank.merged", MergedFrom = "modelspec.merged_from";

    /// <summary>Entries of a file's metadata that are about the bytes that were in it.</summary>
    private static readonly string[] Hashes = ["modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash"];

    /// <summary>Classes whose weights are read and written; files of others are copied.</summary>
    private static readonly Dictionary<string, string> FileNames = new()
    {
        ["UNet2DConditionModel"] = WeighedPart.DiffusersFile,
        ["AutoencoderKL"] = WeighedPart.DiffusersFile,
        ["CLIPTextModel"] = WeighedPart.TransformersFile,
        ["CLIPTextModelWithProjection"] = WeighedPart.TransformersFile,
    };

    /// <summary>Refuses an output of the other layout, and a folder with anything in it.</summary>
    /// <exception cref="OptionsException">It is such a one.</exception>
    public static void Require(string output, ModelFiles model)
    {
        var isFile = output.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase);
        if (model is SingleFile && !isFile) throw new OptionsException($"the output must be a .safetensors file, as the model is one file; {output}; give it that ending, or convert the model to a folder first: lora convert-model");
        if (model is not SingleFile && isFile) throw new OptionsException($"the output must be a folder, as the model is one; {output}; name a folder, or convert the model to one file first: lora convert-model");
        if (File.Exists(output) && !isFile) throw new OptionsException($"the output is a file, a folder is needed; {output}; name another");
        if (isFile && Directory.Exists(output)) throw new OptionsException($"the output is a folder, a file is needed; {output}; name a file in it");
        if (Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any()) throw new OptionsException($"the output folder is not empty; {output}; name a new folder: nothing is overwritten");
    }

    /// <summary>Writes the folder or the file, whole or not at all.</summary>
    /// <param name="output">As <see cref="Require"/> let it pass.</param>
    /// <param name="model">The model.</param>
    /// <param name="weights">What changes.</param>
    /// <param name="what">For the metadata.</param>
    public static void Write(string output, ModelFiles model, MergedWeights weights, string what)
    {
        if (model is SingleFile file) WriteFile(output, file, weights, what);
        else WholeFolder.Write(output, folder => WriteFolder(folder, model, weights, what));
    }

    /// <summary>Bytes of a file, or of all files of a folder.</summary>
    public static long SizeOf(string output) => File.Exists(output) ? new FileInfo(output).Length : new DirectoryInfo(output).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Length);

    private static void WriteFolder(string folder, ModelFiles model, MergedWeights weights, string what)
    {
        model.CopyIndexTo(folder, pipeline: null);
        var classes = model.Named.ToDictionary(part => part.Name, part => part.Class);
        foreach (var part in model.PartNames)
        {
            var written = FileNames.GetValueOrDefault(classes[part]);
            model.CopyTo(part, Path.Combine(folder, part), weights: written is null);
            if (written is null || !model.HasWeights(part)) continue;
            using var stored = model.OpenWeights(part);
            var missing = weights.KeysOf(part).ToHashSet();
            var tensors = stored.Names.Select(name => weights.Of(stored.Copy(name), () => stored.Read(name), Places(part, name))).ToList();
            RequireNone(missing, part, stored.Path);
            weights.Write(Path.Combine(folder, part, written), tensors, Metadata(stored.Metadata, what));

            WeightPlace[] Places(string component, string name) =>
                ModelCheck.KeyOf(classes[component], name) is { } key && missing.Remove(key) ? [new(component, key, tensor => tensor.alias())] : [];
        }
    }

    private static void WriteFile(string output, SingleFile model, MergedWeights weights, string what)
    {
        using var stored = Checkpoint.Open(model.Path);
        var places = new Dictionary<string, List<WeightPlace>>();
        foreach (var component in model.Layout.Parts.Where(part => weights.KeysOf(part).Any()))
        {
            var names = model.NamesOf(component);
            var missing = weights.KeysOf(component).ToHashSet();
            foreach (var key in missing.ToList())
            {
                if (names.Of(key) is not { } place || names.Spellings(place, averages: false).FirstOrDefault(spelling => stored.Has(spelling.Name)) is not { } found) continue;
                missing.Remove(key);
                (places.TryGetValue(found.Name, out var list) ? list : places[found.Name] = []).Add(new(component, key, found.Of));
            }
            RequireNone(missing, component, model.Path);
        }
        weights.Write(output, [.. stored.Names.Select(name => weights.Of(stored.Copy(name), () => stored.Read(name), places.GetValueOrDefault(name) ?? []))], Metadata(stored.Metadata, what));
    }

    private static void RequireNone(HashSet<string> missing, string component, string path)
    {
        if (missing.FirstOrDefault() is { } key) throw TensorFile.Refuse(path, $"no tensor is the weight {component}.{key}, which an adapter changes", "use the weights and the configuration of one model");
    }

    /// <summary>The model's own, less what no longer holds, and what was merged; names, no folders.</summary>
    private static Dictionary<string, string> Metadata(IReadOnlyDictionary<string, string> own, string what)
    {
        var metadata = own.Where(item => !Hashes.Contains(item.Key)).ToDictionary(item => item.Key, item => item.Value);
        metadata["format"] = "pt";   // transformers reads no file without it
        metadata[Merged] = own.TryGetValue(Merged, out var before) ? $"{what}; before: {before}" : what;
        metadata["lowrank.version"] = AdapterMetadata.Version;
        if (own.ContainsKey("modelspec.architecture")) metadata[MergedFrom] = what;
        return metadata;
    }
}
