namespace LowRank.Hub;

/// <summary>
/// The cache of the hub on this machine, as its own client lays it out: <c>blobs/HASH</c> holds the contents, <c>snapshots/COMMIT/PATH</c> are links to them, <c>refs/BRANCH</c> holds the
/// commit that a branch was at when somebody asked last. Reading it needs no network.
/// Source: huggingface_hub, docs/source/en/guides/manage-cache.md.
/// </summary>
/// <param name="root">Folder of the cache; need not be there.</param>
internal sealed class HubCache(string root)
{
    /// <summary>The folder.</summary>
    public string Root { get; } = Path.GetFullPath(root);

    /// <summary>Folder of one repository.</summary>
    public string Repository(string repository) => Path.Combine(Root, FolderName(repository));

    /// <summary>Folder that holds the locks of one repository's contents; the hub's own client takes the same ones.</summary>
    public string Locks(string repository) => Path.Combine(Root, ".locks", FolderName(repository));

    /// <summary>The file that holds contents of this hash.</summary>
    public string Blob(string repository, string hash) => Path.Combine(Repository(repository), "blobs", hash);

    /// <summary>The folder of a commit.</summary>
    public string Snapshot(string repository, string commit) => Path.Combine(Repository(repository), "snapshots", commit);

    /// <summary>The file that says at which commit a branch or tag was.</summary>
    public string Reference(string repository, string revision) => Path.Combine([Repository(repository), "refs", .. revision.Split('/')]);

    /// <summary>The commit that a revision means, as far as the cache knows.</summary>
    /// <returns>Null where it does not.</returns>
    public string? Commit(HubName name)
    {
        if (HubName.IsCommit(name.Revision)) return name.Revision;
        var reference = Reference(name.Repository, name.Revision);
        if (!File.Exists(reference)) return null;
        var commit = File.ReadAllText(reference).Trim();
        return HubName.IsCommit(commit) ? commit : null;
    }

    /// <summary>Finds a model.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="variant">The weights that a pipeline must have, such as <c>fp16</c>; null: the plain ones, or those in half precision.</param>
    /// <returns>Where it is: a folder, or for a name with a file that file. Or else what is lacking, in words.</returns>
    public (string? Place, string? Lacking) Find(HubName name, string? variant = null)
    {
        if (!Directory.Exists(Repository(name.Repository))) return (null, "nothing of it");
        if (Commit(name) is not { } commit) return (null, $"no commit for its revision {name.Revision}");
        var snapshot = Snapshot(name.Repository, commit);
        if (name.File is { } file)
        {
            var place = Path.Combine(snapshot, file.Replace('/', Path.DirectorySeparatorChar));
            return Has(place) ? (place, null) : (null, $"it without {file}");
        }
        var index = Path.Combine(snapshot, PipelineFiles.Index);
        if (!Has(index)) return (null, $"it without {PipelineFiles.Index}");
        var missing = PipelineFiles.Parts(index).Select(part => PipelineFiles.Missing(snapshot, part, variant)).OfType<string>().ToList();
        return missing.Count == 0 ? (snapshot, null) : (null, $"it without {string.Join(", ", missing)}");
    }

    /// <summary>Finds some files of a repository.</summary>
    /// <returns>The folder that holds them all; null where one is lacking.</returns>
    public string? FindFiles(HubName name, IEnumerable<string> files) =>
        Commit(name) is { } commit && Snapshot(name.Repository, commit) is var snapshot && files.All(file => Has(Path.Combine(snapshot, file))) ? snapshot : null;

    /// <summary>The models that are there, whole or not.</summary>
    public IEnumerable<string> Repositories() => !Directory.Exists(Root) ? [] : Directory.GetDirectories(Root, "models--*--*")
        .Select(folder => Path.GetFileName(folder)["models--".Length..].Split("--")).Where(parts => parts.Length == 2).Select(parts => $"{parts[0]}/{parts[1]}").Order(StringComparer.Ordinal);

    /// <summary>Commits of a model that something is there of.</summary>
    public IEnumerable<string> Commits(string repository) => Path.Combine(Repository(repository), "snapshots") is var folder && Directory.Exists(folder)
        ? Directory.GetDirectories(folder).Select(path => Path.GetFileName(path)!).Where(HubName.IsCommit).Order(StringComparer.Ordinal)
        : [];

    /// <summary>Branches and tags that were at a commit.</summary>
    public IReadOnlyList<string> RevisionsAt(string repository, string commit) => Path.Combine(Repository(repository), "refs") is var folder && Directory.Exists(folder)
        ? [.. Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Where(file => File.ReadAllText(file).Trim() == commit).Select(file => Path.GetRelativePath(folder, file).Replace('\\', '/')).Order(StringComparer.Ordinal)]
        : [];

    /// <summary>Bytes of the files of a commit.</summary>
    public long BytesOf(string repository, string commit) => Directory.GetFiles(Snapshot(repository, commit), "*", SearchOption.AllDirectories)
        .Select(file => new FileInfo(file)).Sum(file => ((FileInfo?)file.ResolveLinkTarget(returnFinalTarget: true) ?? file) is { Exists: true } target ? target.Length : 0);

    /// <summary>Whether a file is there, with its contents: a link whose contents were removed is none, though the platform says that it exists.</summary>
    public static bool Has(string file) => File.Exists(file) && (new FileInfo(file).LinkTarget is null || File.ResolveLinkTarget(file, returnFinalTarget: true) is { Exists: true });

    /// <summary>Whether a folder is a snapshot of a cache: what a pipeline does not need to draw may lack there, and is fetched by the programs that want it.</summary>
    public static bool IsSnapshot(string folder) =>
        Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(folder)) is { } snapshots && Path.GetFileName(snapshots) == "snapshots"
        && Path.GetFileName(Path.GetDirectoryName(snapshots))?.StartsWith("models--", StringComparison.Ordinal) == true;

    private static string FolderName(string repository) => "models--" + repository.Replace("/", "--", StringComparison.Ordinal);
}
