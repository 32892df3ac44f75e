using LowRank.Hub;

namespace LowRank.Recipes;

/// <summary>A model in the cache of the hub, at one commit.</summary>
public sealed class CachedModel
{
    internal CachedModel(string name, string commit, IReadOnlyList<string> revisions, long bytes, string? lacking) => (Name, Commit, Revisions, Bytes, Lacking) = (name, commit, revisions, bytes, lacking);

    /// <summary><c>org/name</c>.</summary>
    public string Name { get; }

    /// <summary>The commit, 40 digits.</summary>
    public string Commit { get; }

    /// <summary>Branches and tags that were at it when somebody asked last; often <c>main</c>.</summary>
    public IReadOnlyList<string> Revisions { get; }

    /// <summary>Size of its files. Files that several commits share count for each.</summary>
    public long Bytes { get; }

    /// <summary>What a pipeline lacks, in words; null for a whole one.</summary>
    public string? Lacking { get; }
}

/// <summary>What the cache of the Hugging Face hub holds on this machine.</summary>
public static class ListModels
{
    /// <summary>Looks into the cache; needs no network.</summary>
    /// <param name="hub">The cache; null: as the environment says.</param>
    /// <returns>By name and commit; models of other kinds of programs too.</returns>
    public static IReadOnlyList<CachedModel> Run(HubOptions? hub = null)
    {
        hub ??= HubOptions.FromEnvironment();
        hub.Require();
        var cache = new HubCache(hub.Cache);
        return [.. cache.Repositories().SelectMany(name => cache.Commits(name).Select(commit => Look(cache, name, commit)))];
    }

    private static CachedModel Look(HubCache cache, string name, string commit) =>
        new(name, commit, cache.RevisionsAt(name, commit), cache.BytesOf(name, commit), cache.Find(new HubName(name, commit)).Lacking);
}
