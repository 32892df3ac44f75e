using LowRank.Families;
using LowRank.Foundation;
using LowRank.Hub;

namespace LowRank.Recipes;

/// <summary>A model, where it is on this machine.</summary>
public sealed class FetchedModel
{
    internal FetchedModel(string name, string place, string? tokenizer, long received) => (Name, Place, Tokenizer, Received) = (name, place, tokenizer, received);

    /// <summary>What to write down: <c>org/name@COMMIT</c>, which means these very files on every machine. A path stays as it was.</summary>
    public string Name { get; }

    /// <summary>The folder of the model, or the file.</summary>
    public string Place { get; }

    /// <summary>Folder of the tokenizer in the cache, for a checkpoint of one file that has none of its own; null for others.</summary>
    public string? Tokenizer { get; }

    /// <summary>Bytes that came over the network; 0 where all was there.</summary>
    public long Received { get; }
}

/// <summary>Finds a model by name in the cache of the Hugging Face hub, or downloads it into that cache. The only recipe that uses the network.</summary>
public static class FetchModel
{
    /// <summary>
    /// Fetches what a model needs and nothing else. What is on this machine is not asked for again; an interrupted download goes on where it stopped; contents are checked
    /// against their hashes. All other recipes take the name afterwards. For a checkpoint of one file, by name or by path, that has no tokenizer, CLIP's is fetched.
    /// </summary>
    /// <param name="model"><c>org/name</c>, <c>org/name@revision</c>, <c>org/name/file.safetensors</c>. What exists as a path, or cannot be a name, is left as it is.</param>
    /// <param name="hub">Cache, address and token; null: as the environment says (<see cref="HubOptions.FromEnvironment()"/>).</param>
    /// <param name="files">How the model's files are read: which variant of its weights a pipeline must have, and where the tokenizer of one file is; null: as usual.</param>
    /// <param name="update">Asks the server where a branch is now, although the cache has what it was.</param>
    /// <param name="progress">Hears what is downloaded, before it begins, and how far it is.</param>
    /// <param name="cancellation">Stops; what is downloaded is kept for the next time.</param>
    /// <exception cref="CheckpointException">There is no such model, it is not given to everybody, it is no model of a family that is known, the network or the disk fails: each with what to try.</exception>
    /// <exception cref="OptionsException">The address or the token cannot be used.</exception>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public static FetchedModel Run(string model, HubOptions? hub = null, ModelFileOptions? files = null, bool update = false, IProgress<HubProgress>? progress = null, CancellationToken cancellation = default) =>
        Run(model, hub ?? HubOptions.FromEnvironment(), files, update, progress, null, cancellation);

    /// <summary>The same with a test's own transport.</summary>
    internal static FetchedModel Run(string model, HubOptions hub, ModelFileOptions? files, bool update, IProgress<HubProgress>? progress, HubTransport? transport, CancellationToken cancellation)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        var (name, place, received) = (model, model, 0L);
        if (!Path.Exists(model) && HubName.Of(model) is { } asked)
        {
            var fetch = new HubFetch(hub, progress, transport);
            (var pinned, place) = fetch.ModelAsync(asked, files?.Variant, update, FamilyDetector.RequireFamily, cancellation).GetAwaiter().GetResult();
            (name, received) = (pinned.ToString(), fetch.Received);
        }
        if (!File.Exists(place) || ModelFiles.At(place, (files ?? new ModelFileOptions()) with { Hub = hub }) is not SingleFile file) return new FetchedModel(name, place, null, received);
        if (file.LackingTokenizer is null || hub.Offline) return new FetchedModel(name, place, file.CachedTokenizer, received);
        var more = new HubFetch(hub, progress, transport);
        try
        {
            var tokenizer = more.FilesAsync(HubName.Of(TokenizerSearch.ClipVocabulary)!, TokenizerSearch.ClipFiles, cancellation).GetAwaiter().GetResult();
            return new FetchedModel(name, place, tokenizer, received + more.Received);
        }
        catch (CheckpointException problem)
        {
            throw new CheckpointException($"{file.RefuseTokenizer().Message}\n  download    {problem.Message.ReplaceLineEndings("\n              ")}", problem);
        }
    }
}
