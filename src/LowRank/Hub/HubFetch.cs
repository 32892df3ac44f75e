using System.Text;
using LowRank.Foundation;

namespace LowRank.Hub;

/// <summary>Fetches what is not in the cache: the files that a pipeline needs, or single ones.</summary>
internal sealed class HubFetch
{
    private readonly HubOptions options;
    private readonly HubTransport transport;
    private readonly IProgress<HubProgress>? progress;
    private readonly HubCache cache;

    /// <param name="options">Where from, and where to.</param>
    /// <param name="progress">Hears what is downloaded.</param>
    /// <param name="transport">Tests' own; null: the usual.</param>
    /// <exception cref="OptionsException">Lists every problem of the options.</exception>
    public HubFetch(HubOptions options, IProgress<HubProgress>? progress = null, HubTransport? transport = null)
    {
        options.Require();
        (this.options, this.progress, this.transport) = (options, progress, transport ?? new HubTransport());
        cache = new HubCache(options.Cache);
    }

    /// <summary>Bytes that came over the network.</summary>
    public long Received { get; private set; }

    /// <summary>A model, from the cache or downloaded into it.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="variant">Which weights a pipeline must have, such as <c>fp16</c>; null: the plain ones, and where there are none those in half precision.</param>
    /// <param name="update">Asks the server although the cache has it, since a branch may have moved.</param>
    /// <param name="judge">Looks at the folder when its <c>model_index.json</c> is there, and throws where the rest need not come.</param>
    /// <param name="stop">What is downloaded is kept.</param>
    /// <returns>The name at its commit, and where it is: a folder, or a file.</returns>
    public async Task<(HubName Name, string Place)> ModelAsync(HubName name, string? variant, bool update, Action<string>? judge, CancellationToken stop)
    {
        var (place, lacking) = cache.Find(name, variant);
        if (place is not null && (options.Offline || !update)) return (name.At(cache.Commit(name)!), place);
        if (options.Offline) throw new HubErrors(name, options, hasToken: false).Offline(lacking!);
        using var client = new HubClient(name, options, transport, Tell);
        var (commit, files) = await client.RepositoryAsync(name, stop).ConfigureAwait(false);
        var download = new HubDownload(client, cache, name, transport, progress);
        try
        {
            if (name.File is { } file)
            {
                if (!files.Contains(file)) throw client.Errors.NoFile(PipelineFiles.SingleFiles(files));
                await download.BringAsync(commit, [file], announce: true, stop).ConfigureAwait(false);
            }
            else
            {
                if (!files.Contains(PipelineFiles.Index)) throw client.Errors.NoPipeline(PipelineFiles.SingleFiles(files));
                await download.BringAsync(commit, [PipelineFiles.Index], announce: false, stop).ConfigureAwait(false);
                judge?.Invoke(cache.Snapshot(name.Repository, commit));
                await download.BringAsync(commit, Chosen(client.Errors, name, commit, files, variant), announce: true, stop).ConfigureAwait(false);
            }
        }
        finally
        {
            Received += download.Received;
        }
        Remember(client.Errors, name, commit);
        var pinned = name.At(commit);
        (place, lacking) = cache.Find(pinned, variant);
        return (pinned, place ?? throw client.Errors.NotWhole(lacking!));
    }

    /// <summary>Files of a repository, from the cache or downloaded into it.</summary>
    /// <param name="name">The repository, and its revision.</param>
    /// <param name="files">Paths in it.</param>
    /// <param name="stop">What is downloaded is kept.</param>
    /// <returns>The folder that holds them all.</returns>
    /// <exception cref="CheckpointException">They are not there and cannot be had.</exception>
    public async Task<string> FilesAsync(HubName name, IReadOnlyList<string> files, CancellationToken stop)
    {
        if (cache.FindFiles(name, files) is { } folder) return folder;
        if (options.Offline) throw new HubErrors(name, options, hasToken: false).Offline($"it without {string.Join(", ", files)}");
        using var client = new HubClient(name, options, transport, Tell);
        var (commit, has) = await client.RepositoryAsync(name, stop).ConfigureAwait(false);
        if (files.FirstOrDefault(file => !has.Contains(file)) is { } lacking) throw new HubErrors(name with { File = lacking }, options, hasToken: false).NoFile([]);
        var download = new HubDownload(client, cache, name, transport, progress);
        await download.BringAsync(commit, files, announce: true, stop).ConfigureAwait(false);
        Received += download.Received;
        Remember(client.Errors, name, commit);
        return cache.Snapshot(name.Repository, commit);
    }

    /// <summary>The files of every part.</summary>
    private List<string> Chosen(HubErrors errors, HubName name, string commit, IReadOnlyList<string> files, string? variant)
    {
        var chosen = new List<string>();
        var parts = PipelineFiles.Parts(Path.Combine(cache.Snapshot(name.Repository, commit), PipelineFiles.Index));
        foreach (var part in parts)
        {
            var (found, lacks) = PipelineFiles.OfPart(part, files, variant);
            if (lacks && variant is not null && !PipelineFiles.OfPart(part, files, null).Lacks) throw errors.NoVariant(part, variant, PipelineFiles.Variants(part, files));
            if (lacks || found.Count == 0) throw errors.NoWeights(part, files);
            chosen.AddRange(found);
        }
        return chosen;
    }

    /// <summary>Writes where a branch or tag is; last, so that a name leads to what is whole.</summary>
    private void Remember(HubErrors errors, HubName name, string commit)
    {
        if (HubName.IsCommit(name.Revision)) return;
        var reference = cache.Reference(name.Repository, name.Revision);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(reference)!);
            WholeFile.Write(reference, Encoding.ASCII.GetBytes(commit));
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            throw errors.NotWritable(problem);
        }
    }

    private void Tell(string note) => progress?.Report(new HubProgress(note, "", 0, 0));
}
