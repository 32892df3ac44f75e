using LowRank.Foundation;

namespace LowRank.Hub;

/// <summary>Turns a model's name into a place on disk, without a network.</summary>
internal static class ModelStore
{
    /// <summary>Where a model of this name is in the cache.</summary>
    /// <param name="model">What may be a name: <c>org/name[@revision][/file]</c>.</param>
    /// <param name="hub">The cache; null: the one that the environment names.</param>
    /// <returns>A folder, or a file; null where the text cannot be a name.</returns>
    /// <exception cref="CheckpointException">It is a name, and the model is not in the cache, or not all of it.</exception>
    public static string? Find(string model, HubOptions? hub = null)
    {
        if (HubName.Of(model) is not { } name) return null;
        var cache = new HubCache((hub ?? HubOptions.FromEnvironment()).Cache);
        var (place, lacking) = cache.Find(name);
        return place ?? throw new CheckpointException(
            $"""
            no model is there: {model}
              here      there is no folder and no file of this name
              cache     {cache.Root} holds {lacking}
              try       to download it first: lora models {name}; or the path of a model's folder or file
            """);
    }
}
