using LowRank.Families;
using LowRank.Foundation;
using LowRank.Hub;

namespace LowRank.Recipes;

/// <summary>A model by name, where it is on this machine.</summary>
public sealed class FetchedModel
{
    internal FetchedModel(string name, string place, long received) => (Name, Place, Received) = (name, place, received);

    /// <summary>What to write down: <c>org/name@COMMIT</c>, which means these very files on every machine. A path stays as it was.</summary>
    public string Name { get; }

    /// <summary>The folder of the model, or for a name with a file in it that file.</summary>
    public string Place { get; }

    /// <summary>Bytes that came over the network; 0 where all was there.</summary>
    public long Received { get; }
}

/// <summary>Finds a model by name in the cache of the Hugging Face hub, or downloads it into that cache. The only recipe that uses the network.</summary>
public static class FetchModel
{
    /// <summary>
    /// Fetches what a model needs and nothing else. What is on this machine is not asked for again; an interrupted download goes on where it stopped; contents are checked
    /// against their hashes. All other recipes take the name afterwards.
    /// </summary>
    /// <param name="model"><c>org/name</c>, <c>org/name@revision</c>, <c>org/name/file.safetensors</c>. What exists as a path, or cannot be a name, is left as it is.</param>
    /// <param name="hub">Cache, address and token; null: as the environment says (<see cref="HubOptions.FromEnvironment()"/>).</param>
    /// <param name="variant">Which weights a pipeline must have, such as <c>fp16</c>; null: the plain ones, which are in full precision, and where there are none those in half precision.</param>
    /// <param name="update">Asks the server where a branch is now, although the cache has what it was.</param>
    /// <param name="progress">Hears what is downloaded, before it begins, and how far it is.</param>
    /// <param name="cancellation">Stops; what is downloaded is kept for the next time.</param>
    /// <exception cref="CheckpointException">There is no such model, it is not given to everybody, it is no model of a family that is known, the network or the disk fails: each with what to try.</exception>
    /// <exception cref="OptionsException">The address or the token cannot be used.</exception>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public static FetchedModel Run(string model, HubOptions? hub = null, string? variant = null, bool update = false, IProgress<HubProgress>? progress = null, CancellationToken cancellation = default) =>
        Run(model, hub ?? HubOptions.FromEnvironment(), variant, update, progress, null, cancellation);

    /// <summary>The same with a test's own transport.</summary>
    internal static FetchedModel Run(string model, HubOptions hub, string? variant, bool update, IProgress<HubProgress>? progress, HubTransport? transport, CancellationToken cancellation)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        if (Path.Exists(model) || HubName.Of(model) is not { } name) return new FetchedModel(model, model, 0);
        var fetch = new HubFetch(hub, progress, transport);
        var (pinned, place) = fetch.ModelAsync(name, variant, update, FamilyDetector.RequireFamily, cancellation).GetAwaiter().GetResult();
        return new FetchedModel(pinned.ToString(), place, fetch.Received);
    }
}
