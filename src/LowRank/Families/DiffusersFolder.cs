using System.Text.Json;
using System.Text.Json.Nodes;
using LowRank.Diffusion;
using LowRank.Foundation;

namespace LowRank.Families;

/// <summary>
/// A model in the diffusers layout: <c>model_index.json</c> names the pipeline and the class of each part; each part is a folder beside it.
/// Reading it opens no weights.
/// </summary>
internal sealed class DiffusersFolder
{
    private const string IndexName = "model_index.json";
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };
    private readonly Dictionary<string, JsonElement> index;

    private DiffusersFolder(string path, Dictionary<string, JsonElement> index, bool widen)
    {
        Path = path;
        Widen = widen;
        this.index = index;
    }

    /// <summary>The folder, in full.</summary>
    public string Path { get; }

    /// <summary>
    /// For a model that is to be made: gives the words that its tokenizers are built from, and how often each was met. Weights and tokenizers need not be there
    /// then. Null for a model that must be whole.
    /// </summary>
    public Func<IReadOnlyDictionary<string, long>>? Words { get; init; }

    /// <summary>Whether its denoiser gets the input channels of an inpainting model.</summary>
    public bool Widen { get; }

    /// <summary>The published pipeline class, e.g. <c>StableDiffusionXLPipeline</c>.</summary>
    public string PipelineClass => index.TryGetValue("_class_name", out var name) && name.ValueKind == JsonValueKind.String
        ? name.GetString()!
        : throw Refuse(IndexName, "the key _class_name is missing, which names the pipeline", "copy the file from the model again");

    /// <summary>Reads the index.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="widen">As <see cref="Widen"/>.</param>
    /// <param name="words">As <see cref="Words"/>.</param>
    /// <exception cref="CheckpointException">No such file, or not an object.</exception>
    public static DiffusersFolder Open(string path, bool widen = false, Func<IReadOnlyDictionary<string, long>>? words = null)
    {
        path = System.IO.Path.GetFullPath(path);
        var file = System.IO.Path.Combine(path, IndexName);
        if (!File.Exists(file))
        {
            throw new CheckpointException($"not a model in the diffusers layout: {IndexName} is missing; in {path}; give the folder that holds {IndexName} with unet, vae and text_encoder beside it");
        }
        return new DiffusersFolder(path, HubJson.ReadHub<Dictionary<string, JsonElement>>(file), widen) { Words = words };
    }

    /// <summary>Parts that the index names, with their classes, whether they are there or not.</summary>
    public IEnumerable<(string Name, string Class)> Named => index.Where(item => item.Value.ValueKind == JsonValueKind.Array && !IsNone(item.Value))
        .Select(item => (item.Key, Class: item.Value.EnumerateArray().LastOrDefault()))
        .Where(item => item.Class.ValueKind == JsonValueKind.String && item.Key == System.IO.Path.GetFileName(item.Key) && item.Key is not ("" or "." or ".."))
        .Select(item => (item.Key, item.Class.GetString()!));

    /// <summary>Parts that the index names and whose folders are there.</summary>
    public IEnumerable<string> PartNames => index.Where(item => item.Value.ValueKind == JsonValueKind.Array && !IsNone(item.Value)).Select(item => item.Key)
        .Where(name => name == System.IO.Path.GetFileName(name) && name is not ("" or "." or "..") && Directory.Exists(System.IO.Path.Combine(Path, name)));

    /// <summary>Copies the index.</summary>
    /// <param name="folder">Of the copy.</param>
    /// <param name="pipeline">The pipeline class that it names there; null: the same.</param>
    public void CopyIndexTo(string folder, string? pipeline)
    {
        File.Copy(System.IO.Path.Combine(Path, IndexName), System.IO.Path.Combine(folder, IndexName));
        if (pipeline is not null) SetKey(System.IO.Path.Combine(folder, IndexName), "_class_name", pipeline);
    }

    /// <summary>Gives one key of a JSON object in a file another value; what else it holds stays.</summary>
    public static void SetKey(string file, string key, JsonNode value)
    {
        var root = JsonNode.Parse(File.ReadAllBytes(file))!;
        root[key] = value;
        WholeFile.Write(file, System.Text.Encoding.UTF8.GetBytes(root.ToJsonString(Indented) + "\n"));
    }

    /// <summary>A switch of the index, or what holds when the index is silent.</summary>
    public bool Flag(string key, bool otherwise) => !index.TryGetValue(key, out var value) ? otherwise : value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Refuse(IndexName, $"{key} is {value.GetRawText()}, expected true or false", "copy the file from the model again"),
    };

    /// <summary>The folder of a part, which must be of one of these classes.</summary>
    /// <returns>The class it is of, and its folder.</returns>
    /// <exception cref="CheckpointException">The index does not name the part, names another class, or the folder is not there.</exception>
    public (string Class, string Folder) Part(string name, params string[] classes)
    {
        if (!index.TryGetValue(name, out var value) || value.ValueKind == JsonValueKind.Null || IsNone(value))
        {
            throw Refuse(IndexName, $"the model has no {name}, which {PipelineClass} needs", $"copy the whole model: the index names the part and the folder {name} holds it");
        }
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() != 2 || value[1].ValueKind != JsonValueKind.String)
        {
            throw Refuse(IndexName, $"{name} is {value.GetRawText()}, expected [library, class]", "copy the file from the model again");
        }
        var kind = value[1].GetString()!;
        if (classes.Length > 0 && !classes.Contains(kind)) throw Refuse(IndexName, $"unsupported value: {name} is of class {kind}", $"supported: {string.Join(", ", classes)}");
        var folder = System.IO.Path.Combine(Path, name);
        if (!Directory.Exists(folder)) throw new CheckpointException($"the model lacks a part: the folder {name} is missing; in {Path}; copy the whole model, with every part that {IndexName} names");
        return (kind, folder);
    }

    /// <summary>The same for a part that must hold weights, unless the model is to be made; they are not opened.</summary>
    public (string Class, string Folder) Weights(string name, params string[] classes)
    {
        var part = Part(name, classes);
        if (Words is null) ComponentFiles.Find(part.Folder);
        return part;
    }

    /// <summary>A part's configuration.</summary>
    /// <returns>Its contents, and its path for messages.</returns>
    public static (byte[] Json, string Path) Configuration(string folder)
    {
        var path = System.IO.Path.Combine(folder, "config.json");
        if (!File.Exists(path)) throw new CheckpointException($"the part has no config.json; in {folder}; copy the whole model again");
        return (File.ReadAllBytes(path), path);
    }

    /// <summary>The noise schedule of the part <c>scheduler</c>, of whatever sampler class.</summary>
    public NoiseSchedule ReadSchedule()
    {
        var path = System.IO.Path.Combine(Part("scheduler").Folder, "scheduler_config.json");
        if (!File.Exists(path)) throw new CheckpointException($"the model lacks a file: scheduler_config.json; in {System.IO.Path.GetDirectoryName(path)}; copy the whole model again");
        try
        {
            return new NoiseSchedule(HubJson.ReadHub<NoiseScheduleOptions>(path));
        }
        catch (OptionsException error)
        {
            throw new CheckpointException($"{error.Message.TrimEnd('.')}; in {path}; use the file as published", error);
        }
    }

    /// <summary>An error about a file of this model.</summary>
    public CheckpointException Refuse(string file, string what, string advice) => new($"{what}; in {System.IO.Path.Combine(Path, file)}; {advice}");

    private static bool IsNone(JsonElement value) => value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.Null);
}
