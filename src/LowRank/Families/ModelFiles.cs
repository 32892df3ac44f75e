using System.Text.Json;
using System.Text.Json.Nodes;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Hub;
using LowRank.Text;

namespace LowRank.Families;

/// <summary>
/// A model as its files, wherever they lie: index, configurations and tokenizers under the paths that they have in the layout of diffusers
/// (<c>model_index.json</c>, <c>unet/config.json</c>, <c>tokenizer/vocab.json</c>), and the weights of each part under the names that they have there.
/// Opening it reads no weights.
/// </summary>
internal abstract class ModelFiles
{
    /// <summary>Names the pipeline and the class of each part.</summary>
    public const string IndexName = "model_index.json";

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };
    private Dictionary<string, JsonElement>? index;

    /// <summary>The folder or the file, in full.</summary>
    public abstract string Path { get; }

    /// <summary>
    /// For a model that is to be made: gives the words that its tokenizers are built from, and how often each was met. Weights and tokenizers need not be there
    /// then. Null for a model that must be whole.
    /// </summary>
    public Func<IReadOnlyDictionary<string, long>>? Words { get; init; }

    /// <summary>Whether its denoiser gets the input channels of an inpainting model.</summary>
    public bool Widen { get; init; }

    /// <summary>What was found out, or assumed, where the files do not say it: one a line.</summary>
    public virtual IReadOnlyList<string> Findings => [];

    /// <summary>Those of the findings that a user must hear of in any use.</summary>
    public virtual IReadOnlyList<string> Warnings => [];

    /// <summary>The published pipeline class, e.g. <c>StableDiffusionXLPipeline</c>.</summary>
    public string PipelineClass => Index.TryGetValue("_class_name", out var name) && name.ValueKind == JsonValueKind.String
        ? name.GetString()!
        : throw Refuse(IndexName, "the key _class_name is missing, which names the pipeline", "copy the file from the model again");

    /// <summary>Parts that the index names, with their classes, whether they are there or not.</summary>
    public IEnumerable<(string Name, string Class)> Named => Index.Where(item => item.Value.ValueKind == JsonValueKind.Array && !IsNone(item.Value))
        .Select(item => (item.Key, Class: item.Value.EnumerateArray().LastOrDefault()))
        .Where(item => item.Class.ValueKind == JsonValueKind.String && item.Key == System.IO.Path.GetFileName(item.Key) && item.Key is not ("" or "." or ".."))
        .Select(item => (item.Key, item.Class.GetString()!));

    /// <summary>Parts that the index names and that are there.</summary>
    public IEnumerable<string> PartNames => Named.Select(part => part.Name).Where(Has);

    private Dictionary<string, JsonElement> Index => index ??= HubJson.ReadHub<Dictionary<string, JsonElement>>(Read(IndexName), PlaceOf(IndexName));

    /// <summary>Opens a model.</summary>
    /// <param name="path">A folder in the layout of diffusers, or a checkpoint of one file, as <see cref="FamilyDetector.Find"/> gave it.</param>
    /// <param name="options">How its files are read; null: as usual.</param>
    /// <param name="widen">As <see cref="Widen"/>.</param>
    /// <param name="words">As <see cref="Words"/>.</param>
    /// <exception cref="CheckpointException">It is no model, or its index is damaged.</exception>
    public static ModelFiles At(string path, ModelFileOptions? options = null, bool widen = false, Func<IReadOnlyDictionary<string, long>>? words = null)
    {
        options ??= new ModelFileOptions();
        return File.Exists(path) ? new SingleFile(path, options) { Widen = widen, Words = words } : DiffusersFolder.Open(path, options, widen, words);
    }

    /// <summary>A small file's content; null where it is not there.</summary>
    /// <param name="file">In the layout of diffusers, with slashes.</param>
    public abstract byte[]? Read(string file);

    /// <summary>Where a small file, or a part, is: for messages.</summary>
    /// <param name="file">In the layout of diffusers, with slashes.</param>
    public abstract string PlaceOf(string file);

    /// <summary>Whether a part is there.</summary>
    public abstract bool Has(string part);

    /// <summary>Whether a part has weights.</summary>
    public abstract bool HasWeights(string part);

    /// <summary>The weights of a part under the names of the layout of diffusers. The caller disposes it.</summary>
    /// <exception cref="CheckpointException">There are none, or they are damaged.</exception>
    public abstract Checkpoint OpenWeights(string part);

    /// <summary>The files on disk that a part's content depends on: a name that does not depend on where the model lies, and the file.</summary>
    public abstract IEnumerable<(string Name, string File)> FilesOf(string part);

    /// <summary>Copies a part's files into a folder.</summary>
    /// <param name="part">One of <see cref="PartNames"/>.</param>
    /// <param name="target">Made where it is not there.</param>
    /// <param name="weights">Whether its weights too, where it has any.</param>
    public abstract void CopyTo(string part, string target, bool weights);

    /// <summary>An error for a part that the index names and that is not there.</summary>
    private protected abstract CheckpointException Lacks(string part);

    /// <summary>Copies the index, without parts that nothing here opens and that are not there.</summary>
    /// <param name="folder">Of the copy.</param>
    /// <param name="pipeline">The pipeline class that it names there; null: the same.</param>
    public void CopyIndexTo(string folder, string? pipeline)
    {
        File.WriteAllBytes(System.IO.Path.Combine(folder, IndexName), Read(IndexName)!);
        if (pipeline is not null) SetKey(System.IO.Path.Combine(folder, IndexName), "_class_name", pipeline);
        // of a downloaded model some are not there; a copy that named them would not open in diffusers
        foreach (var (name, _) in Named.Where(part => PipelineFiles.LeftOut.Contains(part.Name) && !Has(part.Name)).ToList()) SetKey(System.IO.Path.Combine(folder, IndexName), name, new JsonArray(null, null));
    }

    /// <summary>Gives one key of a JSON object in a file another value; what else it holds stays.</summary>
    public static void SetKey(string file, string key, JsonNode value)
    {
        var root = JsonNode.Parse(File.ReadAllBytes(file))!;
        root[key] = value;
        WholeFile.Write(file, Text(root));
    }

    /// <summary>A JSON file's content, indented.</summary>
    public static byte[] Text(JsonNode json) => System.Text.Encoding.UTF8.GetBytes(json.ToJsonString(Indented) + "\n");

    /// <summary>A switch of the index, or what holds when the index is silent.</summary>
    public bool Flag(string key, bool otherwise) => !Index.TryGetValue(key, out var value) ? otherwise : value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Refuse(IndexName, $"{key} is {value.GetRawText()}, expected true or false", "copy the file from the model again"),
    };

    /// <summary>A part that must be there and of one of these classes.</summary>
    /// <returns>The class it is of.</returns>
    /// <exception cref="CheckpointException">The index does not name the part, names another class, or it is not there.</exception>
    public string Part(string name, params string[] classes)
    {
        if (!Index.TryGetValue(name, out var value) || value.ValueKind == JsonValueKind.Null || IsNone(value))
        {
            throw Refuse(IndexName, $"the model has no {name}, which {PipelineClass} needs", $"copy the whole model: the index names the part and the folder {name} holds it");
        }
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() != 2 || value[1].ValueKind != JsonValueKind.String)
        {
            throw Refuse(IndexName, $"{name} is {value.GetRawText()}, expected [library, class]", "copy the file from the model again");
        }
        var kind = value[1].GetString()!;
        if (classes.Length > 0 && !classes.Contains(kind)) throw Refuse(IndexName, $"unsupported value: {name} is of class {kind}", $"supported: {string.Join(", ", classes)}");
        return Has(name) ? kind : throw Lacks(name);
    }

    /// <summary>The same for a part that must hold weights, unless the model is to be made; they are not opened.</summary>
    public string Weights(string name, params string[] classes)
    {
        var kind = Part(name, classes);
        if (Words is null) RequireWeights(name);
        return kind;
    }

    /// <summary>Refuses a part without weights.</summary>
    private protected abstract void RequireWeights(string part);

    /// <summary>A part's configuration.</summary>
    /// <returns>Its contents, and its place for messages.</returns>
    public (byte[] Json, string Place) Configuration(string part)
    {
        var file = part + "/config.json";
        return (Read(file) ?? throw new CheckpointException($"the part has no config.json; in {PlaceOf(part)}; copy the whole model again"), PlaceOf(file));
    }

    /// <summary>Whether a tokenizer is there.</summary>
    public bool HasTokenizer(string name) => TokenizerFolder.IsIn(TokenizerFile(name));

    /// <summary>A tokenizer, which must be there.</summary>
    /// <param name="name">tokenizer, tokenizer_2.</param>
    public ClipTokenizer OpenTokenizer(string name)
    {
        Part(name, "CLIPTokenizer", "CLIPTokenizerFast");
        return TokenizerFolder.Open(PlaceOf(name), TokenizerFile(name));
    }

    /// <summary>The noise schedule of the part <c>scheduler</c>, of whatever sampler class.</summary>
    public NoiseSchedule ReadSchedule()
    {
        const string Name = "scheduler/scheduler_config.json";
        Part("scheduler");
        var json = Read(Name) ?? throw new CheckpointException($"the model lacks a file: scheduler_config.json; in {PlaceOf("scheduler")}; copy the whole model again");
        try
        {
            return new NoiseSchedule(HubJson.ReadHub<NoiseScheduleOptions>(json, PlaceOf(Name)));
        }
        catch (OptionsException error)
        {
            throw new CheckpointException($"{error.Message.TrimEnd('.')}; in {PlaceOf(Name)}; use the file as published", error);
        }
    }

    /// <summary>An error about a small file of this model.</summary>
    public CheckpointException Refuse(string file, string what, string advice) => new($"{what}; in {PlaceOf(file)}; {advice}");

    private Func<string, byte[]?> TokenizerFile(string name) => file => Read($"{name}/{file}");

    private static bool IsNone(JsonElement value) => value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.Null);
}
