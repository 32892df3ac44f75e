using System.Collections.ObjectModel;
using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Text;

namespace LowRank.Recipes;

/// <summary>An adapter in use, with what the user calls it.</summary>
internal sealed record NamedAdapter(string Name, AdapterUse Use);

/// <summary>An embedding in use, with what the user calls it, and what settings call it.</summary>
internal sealed record NamedEmbedding(string Name, EmbeddingUse Use, string Shown)
{
    /// <summary>One that is given as a file.</summary>
    public static NamedEmbedding Of(EmbeddingUse use) => new(use.Token ?? Path.GetFileNameWithoutExtension(use.File), use, Path.GetFileName(use.File) + (use.Token is null ? "" : $": {use.Token}"));
}

/// <summary>What the prompts and options of a generation name, found: adapters and embeddings, and the prompts as text encoders get them.</summary>
internal sealed partial record NamedInPrompts
{
    private NamedInPrompts(GenerateOptions options) => (Prompt, NegativePrompt) = (options.Prompt, options.NegativePrompt);

    /// <summary>Without tags; embeddings that were called by name stand in it under a token of their own.</summary>
    public string Prompt { get; private set; }

    /// <summary>Alike.</summary>
    public string? NegativePrompt { get; private set; }

    /// <summary>Those of the options first.</summary>
    public IReadOnlyList<NamedAdapter> Adapters { get; private init; } = [];

    /// <summary>Those of the options first.</summary>
    public List<NamedEmbedding> Embeddings { get; } = [];

    /// <summary>Finds everything.</summary>
    /// <exception cref="OptionsException">A tag that is not understood, or a name that nothing or several files have.</exception>
    public static NamedInPrompts Of(GenerateOptions options)
    {
        var folder = options.AdapterFolder is { } path ? new NamedFiles(path, "adapter") : null;
        var (prompt, tags) = PromptTags.Take(options.Prompt);
        var given = OfFiles(options with { Adapters = [.. options.Adapters.Select(use => use with { File = FileOf(use.File, folder) })] });
        var found = given with { Prompt = prompt, Adapters = [.. given.Adapters, .. tags.Select(tag => UseOf(tag, folder))] };
        found.FindEmbeddings(options.EmbeddingFolder is { } place ? new NamedFiles(place, "embedding") : null);
        return found;
    }

    /// <summary>What the options name as files alone; prompts stay as they are.</summary>
    public static NamedInPrompts OfFiles(GenerateOptions options)
    {
        var found = new NamedInPrompts(options) { Adapters = [.. options.Adapters.Select(use => new NamedAdapter(Path.GetFileNameWithoutExtension(use.File), use))] };
        found.Embeddings.AddRange(options.Embeddings.Select(NamedEmbedding.Of));
        return found;
    }

    /// <summary>A file that is there goes before a name.</summary>
    private static string FileOf(string file, NamedFiles? folder) =>
        folder is null || File.Exists(file) || Directory.Exists(file) || ShippedAdapters.Names.Contains(file) ? file : folder.Find(file);

    private static NamedAdapter UseOf(LoraTag tag, NamedFiles? folder)
    {
        var shipped = ShippedAdapters.Names.Contains(tag.Name) && folder?.Names.Contains(tag.Name) != true;
        var file = shipped ? tag.Name
            : folder?.Find(tag.Name)
            ?? throw new OptionsException($"prompt: <lora:{tag.Name}> names an adapter, and no folder to look in is given; give --adapter-folder FOLDER, or one that comes with the program: {string.Join(", ", ShippedAdapters.Names)}");
        var same = tag.TextEncoder == tag.Unet;
        return new NamedAdapter(tag.Name, new AdapterUse(file, same ? tag.Unet : 1)
        {
            Parts = same ? ReadOnlyDictionary<string, double>.Empty : new Dictionary<string, double> { ["unet"] = tag.Unet, ["text_encoder"] = tag.TextEncoder },
            Blocks = tag.Blocks,
        });
    }

    /// <summary>Puts a token of its own where a prompt calls an embedding: <c>embedding:name</c> anywhere, the bare name of a file of the folder as a word of its own.</summary>
    private void FindEmbeddings(NamedFiles? folder)
    {
        var tokens = new Dictionary<string, string>();
        (Prompt, NegativePrompt) = (Replaced(Prompt), NegativePrompt is null ? null : Replaced(NegativePrompt));

        string Replaced(string prompt)
        {
            var names = folder is null ? [] : folder.Names.OrderByDescending(name => name.Length).Select(Regex.Escape).ToList();
            if (names.Count > 0)
            {
                var any = string.Join('|', names);
                var called = $@"(?<!\w)(?:embedding:\s*(?<name>{any})(?:\.safetensors|\.pt|\.bin)?|(?<name>{any}))(?!\w)";
                prompt = Regex.Replace(prompt, called, match => TokenOf(match.Groups["name"].Value), RegexOptions.IgnoreCase);
            }
            return ByKeyword().Replace(prompt, match => TokenOf(match.Groups["name"].Value));
        }

        string TokenOf(string name)
        {
            var file = folder?.Find(name) ?? throw new OptionsException($"prompt: embedding:{name} names an embedding, and no folder to look in is given; give --embedding-folder FOLDER");
            if (tokens.TryGetValue(file, out var known)) return known;
            var token = tokens[file] = string.Create(CultureInfo.InvariantCulture, $"<embedding-{tokens.Count + 1}>");
            Embeddings.Add(new NamedEmbedding(Path.GetFileNameWithoutExtension(file), new EmbeddingUse(file, token), Path.GetFileName(file)));
            return token;
        }
    }

    [GeneratedRegex(@"(?<!\w)embedding:\s*(?<name>[^\s,;()\[\]<>|:]+)", RegexOptions.IgnoreCase)]
    private static partial Regex ByKeyword();
}
