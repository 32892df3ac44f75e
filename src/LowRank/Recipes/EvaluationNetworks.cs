using LowRank.Evaluation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>The networks that an evaluation looks at pictures with. Owns them.</summary>
internal sealed class EvaluationNetworks : IDisposable
{
    private EvaluationNetworks(IFeatureNetwork features, IFeatureNetwork? clip) => (Features, Clip) = (features, clip);

    /// <summary>What KID, FID and the others compare by.</summary>
    public IFeatureNetwork Features { get; }

    /// <summary>For CMMD, image alignment and CLIP score; null for none. <see cref="Features"/> itself where both are one folder.</summary>
    public IFeatureNetwork? Clip { get; }

    /// <summary>Each once: <see cref="Features"/> first, <see cref="Clip"/> last.</summary>
    public IReadOnlyList<IFeatureNetwork> All => Clip is null || ReferenceEquals(Clip, Features) ? [Features] : [Features, Clip];

    /// <summary>Opens what the options name.</summary>
    /// <exception cref="LowRank.Foundation.LowRankException">No such network, or its weights are damaged or of another.</exception>
    public static EvaluationNetworks Open(EvaluateOptions options)
    {
        var features = FeatureNetworks.Open(options.Features, InceptionPicture.Ways[options.Resize]);
        try
        {
            return new EvaluationNetworks(features, options.Clip is null ? null : IsBoth(options) ? features : ClipFeatures.Open(options.Clip, CPU));   // a folder, whatever its name is
        }
        catch
        {
            features.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var network in All) network.Dispose();
    }

    private static bool IsBoth(EvaluateOptions options) => options.Features != IconFeatures.Embedded && Whole(options.Features) == Whole(options.Clip!);

    private static string Whole(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
}
