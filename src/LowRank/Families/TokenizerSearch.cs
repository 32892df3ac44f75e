using System.Text.Json.Nodes;
using LowRank.Families.Original;
using LowRank.Foundation;
using LowRank.Hub;
using LowRank.Text;

namespace LowRank.Families;

/// <summary>
/// Finds the tokenizers that a checkpoint of one file lacks. All families of the original layout have CLIP's vocabulary; what OpenCLIP's encoders are given
/// differs in its padding, <c>!</c> (id 0) in place of the end token.
/// </summary>
internal sealed class TokenizerSearch
{
    /// <summary>The model of the hub that has CLIP's vocabulary.</summary>
    public const string ClipVocabulary = "openai/clip-vit-large-patch14";

    /// <summary>Its files.</summary>
    public static readonly IReadOnlyList<string> ClipFiles = ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"];

    private const string OpenClipPadding = "!";
    private readonly HubOptions? hub;
    private readonly string path;
    private readonly OriginalLayout layout;
    private readonly List<string> looked = [];
    private readonly Dictionary<string, Found> found = [];

    /// <summary>A tokenizer's files.</summary>
    /// <param name="Place">For messages.</param>
    /// <param name="Folder">On disk; null where it is in the file's metadata.</param>
    /// <param name="Read">A file's content by its name; null where it is not there.</param>
    private sealed record Found(string Place, string? Folder, Func<string, byte[]?> Read);

    /// <param name="path">The checkpoint.</param>
    /// <param name="options">The folders that the user named.</param>
    /// <param name="metadata">Of the checkpoint.</param>
    /// <param name="layout">Its text encoders.</param>
    /// <exception cref="OptionsException">The named folder is not there, or holds no tokenizer.</exception>
    public TokenizerSearch(string path, ModelFileOptions options, SingleFileMetadata metadata, OriginalLayout layout)
    {
        (this.path, this.layout, hub) = (path, layout, options.Hub);
        var (named, config) = (options.Tokenizer, options.Config);
        foreach (var (name, isOpenClip) in Names())
        {
            var own = named is null ? Own(name, config, metadata) : null;
            var any = own is null ? named is null ? Beside(name) ?? InCache() : InNamed(name, Path.GetFullPath(named)) : null;
            if ((own ?? (any is not null && isOpenClip ? Padded(any) : any)) is { } tokenizer) found[name] = tokenizer;
        }
    }

    /// <summary>A tokenizer that was found nowhere; null where all were.</summary>
    public string? Lacking => Names().Select(name => name.Item1).FirstOrDefault(name => !found.ContainsKey(name));

    /// <summary>Folder of the tokenizer in the hub's cache; null where it was not needed, or is not there.</summary>
    public string? Cached { get; private set; }

    /// <summary>Where a tokenizer, or one of its files, is; null where it was not found.</summary>
    /// <param name="file">tokenizer, tokenizer_2/vocab.json, ….</param>
    public string? PlaceOf(string file) => found.TryGetValue(file.Split('/')[0], out var tokenizer) ? Path.Combine([tokenizer.Place, .. file.Split('/').Skip(1)]) : null;

    /// <summary>The content and place of one of a tokenizer's files; null where it is not there.</summary>
    /// <param name="file">tokenizer/vocab.json, ….</param>
    public (byte[] Content, string Place)? Read(string file) =>
        file.Split('/') is [var name, var inside] && found.TryGetValue(name, out var tokenizer) && tokenizer.Read(inside) is { } content ? (content, Path.Combine(tokenizer.Place, inside)) : null;

    /// <summary>A tokenizer's files on disk.</summary>
    /// <param name="name">tokenizer, tokenizer_2.</param>
    public IEnumerable<(string Name, string File)> FilesOf(string name) => !found.TryGetValue(name, out var tokenizer) ? []
        : tokenizer.Folder is not { } folder ? [(name, path)]
        : TokenizerFolder.Files.Select(file => ($"{name}/{file}", Path.Combine(folder, file))).Where(file => File.Exists(file.Item2));

    /// <summary>The error for a tokenizer that was not found.</summary>
    public CheckpointException Lacks(string name) => new(
        $"a checkpoint of one file holds no tokenizer, and none was found for {name}; {path}\n  looked      {string.Join("\n              ", looked.Distinct())}\n"
        + $"  try         --tokenizer FOLDER (tokenizer in the recipe's [model_file]) with vocab.json and merges.txt of {ClipVocabulary}, the vocabulary of all models of this layout; or put its folder beside the file as tokenizer; or a command without --offline, which downloads it once");

    private IEnumerable<(string Name, bool IsOpenClip)> Names() => layout.Encoders.Select(encoder => (encoder.Part.Replace("text_encoder", "tokenizer", StringComparison.Ordinal), encoder.IsOpenClip));

    private Found InNamed(string name, string folder)
    {
        if (!Directory.Exists(folder)) throw new OptionsException($"tokenizer: there is no folder {folder}");
        return In(Path.Combine(folder, name)) ?? In(Path.Combine(folder, "tokenizer")) ?? In(folder)
            ?? throw new OptionsException($"tokenizer: the folder holds no vocab.json with merges.txt and no tokenizer.json, and its folder tokenizer neither; {folder}");
    }

    /// <summary>The model's own: beside its configurations, or in the file's metadata.</summary>
    private Found? Own(string name, string? config, SingleFileMetadata metadata)
    {
        if (config is not null && In(Path.Combine(Path.GetFullPath(config), name)) is { } configured) return configured;
        if (!TokenizerFolder.IsIn(file => metadata.Read($"{name}/{file}"))) return null;
        return new Found($"{path} (metadata {SingleFileMetadata.KeyOf(name)})", null, file => metadata.Read($"{name}/{file}"));
    }

    private Found? Beside(string name)
    {
        var beside = Path.GetDirectoryName(path)!;
        return In(Path.Combine(beside, name)) ?? In(Path.Combine(beside, "tokenizer")) ?? In(beside);
    }

    /// <summary>In the cache of the hub, where other programs may have put it.</summary>
    private Found? InCache()
    {
        var cache = new HubCache((hub ?? HubOptions.FromEnvironment()).Cache);
        Cached = cache.FindFiles(HubName.Of(ClipVocabulary)!, ClipFiles);
        if (Cached is not null) return In(Cached);
        looked.Add($"{cache.Root}, for {ClipVocabulary}");
        return null;
    }

    private Found? In(string folder)
    {
        var read = TokenizerFolder.In(folder);
        if (TokenizerFolder.IsIn(read)) return new Found(folder, folder, read);
        looked.Add(folder);
        return null;
    }

    /// <summary>
    /// A tokenizer as OpenCLIP's encoders were given it: padded with id 0, which is <c>!</c> in CLIP's vocabulary (open_clip, src/open_clip/tokenizer.py). A
    /// folder of CLIP's own says the end token. Another vocabulary stays as it is.
    /// </summary>
    private static Found Padded(Found tokenizer)
    {
        var pads = new Lazy<bool>(() => TokenizerFolder.Open(tokenizer.Place, tokenizer.Read).WithPadding(OpenClipPadding).PaddingId == 0);
        return tokenizer with { Read = file => file is ("tokenizer_config.json" or "special_tokens_map.json") && pads.Value ? WithPadding(file, tokenizer.Read(file)) : tokenizer.Read(file) };
    }

    private static byte[]? WithPadding(string file, byte[]? text)
    {
        if (text is null && file != "tokenizer_config.json") return null;
        var node = text is null ? new JsonObject { ["tokenizer_class"] = "CLIPTokenizer", ["model_max_length"] = 77 } : JsonNode.Parse(text)!.AsObject();
        node["pad_token"] = OpenClipPadding;
        return ModelFiles.Text(node);
    }
}
