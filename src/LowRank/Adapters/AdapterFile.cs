using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>
/// An adapter file of any convention, opened: what it holds, and what is wrong with it. Opening reads headers and alphas only, and
/// refuses only what is no tensor file; a file with problems can be inspected, but not loaded. Owns the open file.
/// </summary>
public sealed class AdapterFile : IDisposable
{
    private readonly ITensorFile file;
    private readonly string? listComponent;
    private readonly List<AdapterProblem> problems = [];
    private readonly List<string> warnings = [];

    private AdapterFile(ITensorFile file)
    {
        this.file = file;
        listComponent = ListComponent(file);
        Files = file is PeftFolder folder ? [.. folder.Files.Values] : [file.Path];
        Length = Files.Sum(path => new FileInfo(path).Length);
        var keys = file.Tensors.Keys.Select(key => (Key: key, Meaning: Meaning(key))).ToList();
        Embeddings = keys.Where(item => item.Meaning is null).Select(item => AdapterEmbedding.Of(file, item.Key)).OfType<AdapterEmbedding>().ToList();
        var embedded = Embeddings.Select(item => item.Key).ToHashSet();
        UnknownKeys = keys.Where(item => item.Meaning is null && !embedded.Contains(item.Key)).Select(item => item.Key).ToList();
        var scaling = Scaling();
        Modules = keys.Where(item => item.Meaning is not null)
            .GroupBy(item => (item.Meaning!.Value.Lookup, item.Meaning.Value.Module, item.Meaning.Value.Convention is AdapterConvention.Package2022))
            .Select(group => new FileModule(file, group.Select(item => (item.Key, item.Meaning!.Value)).ToList(), scaling))
            .ToList();
        foreach (var module in Modules)
        {
            problems.AddRange(module.Problems);
            warnings.AddRange(module.Warnings);
        }
        if (file.Tensors.Count == 0) problems.Add(AdapterProblem.Empty());
        if (UnknownKeys.Count > 0) problems.Add(new AdapterProblem($"unknown keys: {Some(UnknownKeys)}", "a file in one of the conventions of docs/adapter-formats.md"));
    }

    /// <summary>The file; the folder of an adapter that PEFT keeps in folders for each part of the model.</summary>
    public string Path => file.Path;

    /// <summary>The file, or those of all parts.</summary>
    internal IReadOnlyList<string> Files { get; }

    /// <summary>Bytes of all files.</summary>
    internal long Length { get; }

    /// <summary>The safetensors metadata; empty for other containers.</summary>
    public IReadOnlyDictionary<string, string> Metadata => file.Metadata;

    /// <summary>The ways in which its keys are written, most used first; one for a file in order.</summary>
    internal IReadOnlyList<AdapterConvention> Conventions =>
        Modules.GroupBy(module => module.Convention).OrderByDescending(group => group.Count()).ThenBy(group => group.Key).Select(group => group.Key).ToList();

    /// <summary>Textual-inversion embeddings beside the adapter; never applied by an <see cref="AdapterSet"/>.</summary>
    internal IReadOnlyList<AdapterEmbedding> Embeddings { get; }

    /// <summary>What forbids loading the file into any model; empty for a good file. (Factors that are not finite show only when they are read.)</summary>
    public IReadOnlyList<string> Problems => problems.Select(problem => problem.What).ToList();

    /// <summary>What loading does that one may not expect.</summary>
    public IReadOnlyList<string> Warnings => warnings;

    internal IReadOnlyList<AdapterProblem> FullProblems => problems;

    internal IReadOnlyList<FileModule> Modules { get; }

    internal IReadOnlyList<string> UnknownKeys { get; }

    internal IEnumerable<TensorInfo> Tensors => file.Tensors.Values;

    /// <summary>Whether it is a bare pickled list of factors, as the package of 2022 wrote them first.</summary>
    internal bool IsList => listComponent is not null;

    /// <summary>Opens a file, or a folder that PEFT or diffusers wrote.</summary>
    /// <param name="path"><c>.safetensors</c>, <c>.pt</c>, <c>.bin</c>, or a folder with <c>adapter_model.safetensors</c> or <c>pytorch_lora_weights.safetensors</c>;
    /// or the name of an adapter that comes with the program: <c>icons-tango</c>, <c>icons-line</c>, <c>icons-pixel</c>.</param>
    /// <exception cref="CheckpointException">There is none, or it is no intact tensor file.</exception>
    public static AdapterFile Open(string path)
    {
        var file = Directory.Exists(path) ? OpenFolder(path) : Checkpoint.OpenFile(ShippedAdapters.Find(path));
        try
        {
            return new AdapterFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The vectors of an embedding, of the shape and type it is stored in. The caller owns them.</summary>
    /// <param name="embedding">One of <see cref="Embeddings"/>.</param>
    internal Tensor Read(AdapterEmbedding embedding) => file.Read(embedding.Key);

    /// <summary>A tensor by its key, of the shape and type it is stored in. The caller owns it.</summary>
    internal Tensor Read(string key) => file.Read(key);

    /// <summary>"kohya keys, rank 4": what the file looks like, for messages.</summary>
    internal string Looks()
    {
        if (Modules.Count == 0) return Embeddings.Count > 0 ? "embeddings only" : "no adapter";
        var ranks = Modules.Where(module => module.IsUsable && module.Kind!.HasRank(module)).Select(module => module.Rank).Distinct().Order().ToList();
        var rank = ranks.Count switch { 0 => "", 1 => $", rank {ranks[0]}", _ => $", ranks {ranks[0]} to {ranks[^1]}" };
        return $"{string.Join(" and ", Conventions.Select(convention => convention.InWords()))} keys{rank}";
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    internal static string Some(IReadOnlyCollection<string> names, int most = 10) =>
        names.Count <= most ? string.Join(", ", names) : string.Create(CultureInfo.InvariantCulture, $"{string.Join(", ", names.Take(most))} and {names.Count - most} more");

    private static ITensorFile OpenFolder(string folder)
    {
        string[] names = ["adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin", "pytorch_lora_weights.bin"];
        if (InFolder(folder, names) is { } file) return Checkpoint.OpenFile(file);
        var parts = PeftFolder.PartsOf(folder, part => InFolder(part, [names[0], names[2]]));
        if (parts.Count > 0) return PeftFolder.Open(folder, parts);
        throw TensorFile.Refuse(folder, "the folder holds no adapter", $"expected {string.Join(" or ", names)}");
    }

    private static string? InFolder(string folder, string[] names) => names.Select(name => System.IO.Path.Combine(folder, name)).FirstOrDefault(File.Exists);

    private AdapterKey? Meaning(string key)
    {
        if (listComponent is not null) return AdapterKey.InList(listComponent, int.Parse(key, CultureInfo.InvariantCulture));
        return AdapterEmbedding.IsEmbeddingKey(file, key) ? null : AdapterKey.Parse(key);
    }

    /// <summary>The component that a bare pickled list of factors is for, by the package's file names; null for a file with names.</summary>
    private static string? ListComponent(ITensorFile file)
    {
        var isList = file.Tensors.Count > 0 && Enumerable.Range(0, file.Tensors.Count).All(place => file.Tensors.ContainsKey(place.ToString(CultureInfo.InvariantCulture)));
        if (!isList) return null;
        return System.IO.Path.GetFileName(file.Path).Contains(".text_encoder.", StringComparison.Ordinal) ? "text_encoder" : "unet";
    }

    /// <summary>The alpha that PEFT's configuration gives a module.</summary>
    private Func<FileModule, double?>? Scaling()
    {
        var whole = PeftScaling.Beside(file.Path);
        var parts = PeftScaling.FromMetadata(file.Metadata, file.Path);
        foreach (var (part, path) in (file as PeftFolder)?.Files ?? new Dictionary<string, string>())
        {
            if (PeftScaling.Beside(path) is { } own) parts[part] = own;
        }
        foreach (var (name, config) in parts.Select(item => ($"metadata {PeftScaling.MetadataKey}, {item.Key}", item.Value)).Concat(whole is null ? [] : [(PeftScaling.ConfigFile, whole)]))
        {
            problems.AddRange(config.Refusals.Select(refusal => new AdapterProblem($"{name}: {refusal}", "a plain LoRA version of the adapter")));
        }
        if (whole is null && parts.Count == 0) return null;
        return module =>
        {
            var dot = module.Lookup.IndexOf('.', StringComparison.Ordinal);
            var (config, path) = dot > 0 && parts.TryGetValue(module.Lookup[..dot], out var part) ? (part, module.Lookup[(dot + 1)..]) : (whole, module.Lookup);
            if (config?.RankOf(path) is { } rank && rank != module.Rank && module.Kind!.HasRank(module))
            {
                warnings.Add(string.Create(CultureInfo.InvariantCulture, $"{module.Name}: rank {module.Rank}, the PEFT configuration says {rank}; the factors count"));
            }
            if (config?.UsesDora == true && module.Kind!.Kind != AdapterKind.Dora) problems.Add(AdapterProblem.Broken(module.Name, $"the PEFT configuration sets use_dora, but there is no {AdapterKey.PeftMagnitude}"));
            return config?.AlphaOf(path, module.Rank, module.Kind!.HasRank(module));
        };
    }
}
