using System.Text.Json.Nodes;
using LowRank.Diffusion;
using LowRank.Families.Original;
using LowRank.Foundation;
using LowRank.Text;
using static System.FormattableString;

namespace LowRank.Families;

/// <summary>
/// A model as one file in the original layout (<c>.safetensors</c>, <c>.ckpt</c>, <c>.pt</c>). It holds weights only: configurations are those in the folder that
/// was named, else those that the file's metadata brings (<see cref="SingleFileMetadata"/>), else those that the tensors' shapes tell.
/// </summary>
internal sealed class SingleFile : ModelFiles
{
    private readonly ModelFileOptions options;
    private readonly OriginalLayout layout;
    private readonly OriginalShapes shapes;
    private readonly SingleFileMetadata metadata;
    private readonly ITensorFile file;
    private readonly PredictionEvidence prediction;
    private readonly PublishedModel published;
    private readonly TokenizerSearch tokenizers;
    private readonly Dictionary<string, (byte[] Content, string Place)?> texts = [];

    /// <param name="path">The file.</param>
    /// <param name="options">How it is read.</param>
    /// <exception cref="CheckpointException">It is damaged, or no model of a family that is known.</exception>
    /// <exception cref="OptionsException">An option that only folders need.</exception>
    public SingleFile(string path, ModelFileOptions options)
    {
        Path = System.IO.Path.GetFullPath(path);
        this.options = options;
        if (options.Variant is not null) throw new OptionsException($"variant is for models in folders, and the model is one file; {Path}; leave it out");
        if (options.Config is { } folder && !Directory.Exists(folder)) throw new OptionsException($"config: there is no folder {folder}");
        file = Checkpoint.OpenFile(Path);
        try
        {
            layout = OriginalLayout.Of(file);
            shapes = new OriginalShapes(file, layout);
            metadata = new SingleFileMetadata(file.Metadata);
            prediction = PredictionEvidence.Of(file, options.PredictionType, layout == OriginalLayout.Second && shapes.DenoiserChannels == 4);
            published = PublishedModel.All.First(model => model.Name == (layout == OriginalLayout.Xl ? "sdxl" : layout == OriginalLayout.First ? "sd15" : prediction.Type == PredictionType.VPrediction ? "sd21" : "sd21-base"));
            tokenizers = new TokenizerSearch(Path, options, metadata, layout);
        }
        finally
        {
            file.Dispose();   // what was read of it is its header
        }
    }

    /// <inheritdoc/>
    public override string Path { get; }

    /// <summary>Which text encoders it has, and where.</summary>
    public OriginalLayout Layout => layout;

    /// <summary>What the file says of itself.</summary>
    public IReadOnlyDictionary<string, string> Metadata => file.Metadata;

    /// <summary>A tokenizer that was found nowhere; null where all were.</summary>
    public string? LackingTokenizer => tokenizers.Lacking;

    /// <summary>Folder of the tokenizer in the hub's cache, where it was found there.</summary>
    public string? CachedTokenizer => tokenizers.Cached;

    /// <summary>The error for the tokenizer that was found nowhere.</summary>
    public CheckpointException RefuseTokenizer() => tokenizers.Lacks(LackingTokenizer!);

    /// <summary>Whether it holds averaged weights too.</summary>
    public bool HasAverages => file.Tensors.Keys.Count(name => name.StartsWith(OriginalLayout.AveragesPrefix, StringComparison.Ordinal)) > 2;   // decay and num_updates are always there

    /// <inheritdoc/>
    public override IReadOnlyList<string> Warnings
    {
        get
        {
            foreach (var part in layout.Parts) Read(part + "/config.json");   // those by shapes say what they assumed
            var said = prediction.IsAssumed && UsesEvidence && layout == OriginalLayout.Second ? (string[])[prediction.Words] : [];
            return [.. said, .. shapes.Assumed];
        }
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Findings
    {
        get
        {
            var lines = new List<string> { Invariant($"{layout.Title} in the original layout, told by its text encoders ({string.Join(", ", layout.Encoders.Select(encoder => encoder.Prefix + "…"))}); {shapes.DenoiserChannels} input channels") };
            lines.Add($"configurations: {string.Join("; ", layout.Parts.Select(part => SourceOf(part + "/config.json")).Distinct())}");
            lines.Add(UsesEvidence ? prediction.Words : $"predicts {(ReadSchedule().PredictionType == PredictionType.VPrediction ? "v" : "noise (epsilon)")}: {SourceOf("scheduler/scheduler_config.json")}");
            lines.AddRange(shapes.Assumed);
            if (HasAverages) lines.Add(options.Ema ? "the denoiser's averaged weights (model_ema.…) are used" : "the file holds averaged weights (model_ema.…) too, which are not used; --ema takes them");
            if (Left() is { Count: > 0 } left) lines.Add(Invariant($"{left.Count} tensors belong to no part of the model and are left out: {string.Join(", ", left.Take(3))}{(left.Count > 3 ? ", …" : "")}"));
            return lines;
        }
    }

    /// <inheritdoc/>
    public override byte[]? Read(string file) => Find(file)?.Content;

    /// <inheritdoc/>
    public override string PlaceOf(string file) => Find(file)?.Place ?? (file.StartsWith("tokenizer", StringComparison.Ordinal) && tokenizers.PlaceOf(file) is { } place ? place : $"{Path} ({file})");

    /// <inheritdoc/>
    public override bool Has(string part) => part.StartsWith("tokenizer", StringComparison.Ordinal) ? tokenizers.PlaceOf(part) is not null : part == "scheduler" || layout.Parts.Contains(part);

    /// <inheritdoc/>
    public override bool HasWeights(string part) => layout.Parts.Contains(part);

    /// <inheritdoc/>
    public override Checkpoint OpenWeights(string part)
    {
        var open = Checkpoint.OpenFile(Path);
        try
        {
            if (part == "unet" && options.Ema && !HasAverages) throw TensorFile.Refuse(Path, "the checkpoint holds no averaged weights: no tensors are named model_ema.…", "leave --ema out");
            var names = NamesOf(part);
            var view = new OriginalView(open, names, options.Ema);
            var averaged = part == "unet" && options.Ema ? names.Keys.Count(view.Tensors.ContainsKey) : names.Keys.Count;
            if (averaged < names.Keys.Count) throw TensorFile.Refuse(Path, Invariant($"the averaged weights are not complete: {averaged} of the denoiser's {names.Keys.Count} tensors are named model_ema.…"), "leave --ema out");
            return Checkpoint.Over(view);
        }
        catch
        {
            open.Dispose();
            throw;
        }
    }

    /// <summary>A part's names in the file.</summary>
    public OriginalPart NamesOf(string part) => layout.NamesOf(part, ModelCheck.KeysOf(this, part));

    /// <inheritdoc/>
    public override IEnumerable<(string Name, string File)> FilesOf(string part)
    {
        foreach (var found in tokenizers.FilesOf(part)) yield return found;
        if (HasWeights(part) || part == "scheduler") yield return (string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{part}/{options.Ema}/{prediction.Type}"), Path);
        if (options.Config is not { } config || !Directory.Exists(System.IO.Path.Combine(config, part))) yield break;
        foreach (var found in Directory.GetFiles(System.IO.Path.Combine(config, part), "*.json").Order(StringComparer.Ordinal)) yield return ($"{part}/{System.IO.Path.GetFileName(found)}", found);
    }

    /// <inheritdoc/>
    public override void CopyTo(string part, string target, bool weights)
    {
        Directory.CreateDirectory(target);
        foreach (var name in part.StartsWith("tokenizer", StringComparison.Ordinal) ? TokenizerFolder.Files : [part == "scheduler" ? "scheduler_config.json" : "config.json"])
        {
            if (Read($"{part}/{name}") is { } content) File.WriteAllBytes(System.IO.Path.Combine(target, name), content);
        }
    }

    private protected override CheckpointException Lacks(string part) => part.StartsWith("tokenizer", StringComparison.Ordinal) ? tokenizers.Lacks(part) : throw new InvalidOperationException($"{part} was not looked for");

    private protected override void RequireWeights(string part)
    {
    }

    /// <summary>Whether what the denoiser predicts is told by the file itself or by what is usual, not by a configuration.</summary>
    private bool UsesEvidence => options.PredictionType is not null || Given("scheduler/scheduler_config.json") is null;

    private (byte[] Content, string Place)? Find(string name)
    {
        if (texts.TryGetValue(name, out var known)) return known;
        var found = name.StartsWith("tokenizer", StringComparison.Ordinal) ? tokenizers.Read(name) : Given(name) ?? Built(name);
        if (found is { } text && name == "scheduler/scheduler_config.json" && UsesEvidence) found = (prediction.Apply(text.Content), text.Place);
        return texts[name] = found;
    }

    /// <summary>A configuration that was named, or that the file brings.</summary>
    private (byte[] Content, string Place)? Given(string name)
    {
        if (options.Config is { } folder && System.IO.Path.Combine([System.IO.Path.GetFullPath(folder), .. name.Split('/')]) is var path && File.Exists(path)) return (File.ReadAllBytes(path), path);
        return metadata.Read(name) is { } content ? (content, $"{Path} (metadata {SingleFileMetadata.KeyOf(name)})") : null;
    }

    private (byte[] Content, string Place)? Built(string name)
    {
        var place = $"{Path} ({name} as of {published.Title}, by shapes)";
        if (name == IndexName) return (Index(), place);
        if (name == "scheduler/scheduler_config.json") return (published.File(name), place);
        return name.EndsWith("/config.json", StringComparison.Ordinal) && layout.Parts.Contains(name.Split('/')[0]) ? (shapes.Configuration(name.Split('/')[0], published), place) : null;
    }

    /// <summary>The published index without the parts that no single file has.</summary>
    private byte[] Index()
    {
        var index = JsonNode.Parse(published.File(IndexName))!.AsObject();
        string[] known = ["scheduler", "tokenizer", "tokenizer_2", .. layout.Parts];
        foreach (var part in index.Where(item => item.Value is JsonArray && !known.Contains(item.Key)).Select(item => item.Key).ToList()) index[part] = new JsonArray(null, null);
        if (index.ContainsKey("safety_checker")) index["requires_safety_checker"] = false;
        if (shapes.DenoiserChannels == 9) index["_class_name"] = layout == OriginalLayout.Xl ? "StableDiffusionXLInpaintPipeline" : "StableDiffusionInpaintPipeline";
        return Text(index);
    }

    /// <summary>Where a configuration comes from, in words.</summary>
    private string SourceOf(string name) => Given(name) is not { } given ? $"those of {published.Title}, by shapes"
        : given.Place.StartsWith(Path, StringComparison.Ordinal) ? "the file's own metadata" : $"in {System.IO.Path.GetFullPath(options.Config!)}";

    /// <summary>Tensors below no part's prefix that are not among those which training leaves in every file.</summary>
    private List<string> Left() => [.. file.Tensors.Keys.Where(name => name.Contains('.', StringComparison.Ordinal) && !layout.Parts.Any(part => name.StartsWith(layout.PrefixOf(part), StringComparison.Ordinal))
        && !name.StartsWith(OriginalLayout.AveragesPrefix, StringComparison.Ordinal) && !name.StartsWith("loss.", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
}
