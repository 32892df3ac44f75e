using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>The difference of two models of one kind as an adapter: layer by layer, by singular values. What the package of 2022 called distilling.</summary>
public static class ExtractAdapter
{
    /// <summary>Extracts it, and says how much of the difference it holds. One layer of each model is in memory at a time.</summary>
    /// <param name="options">Which models, how much, and where to.</param>
    /// <param name="progress">Hears of every layer.</param>
    /// <param name="cancellation">Stops between layers; nothing is written then.</param>
    /// <exception cref="LowRankException">Options that contradict each other, models that are damaged, of different networks, or equal.</exception>
    public static WrittenAdapter Run(ExtractOptions options, IProgress<LayerProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        using var models = new ModelPair(options.Base, options.Tuned, options.Parts, options.Config);
        using var family = FamilyDetector.Open(options.Base, files: models.FileOptions);
        using var outline = ModelOutline.Of(options.Base, models.FileOptions);
        OutputFile.RequireOther(options.Output, models.Files);
        using var streams = new RandomStreams(options.Seed);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var names = new ModuleNames(outline.Components);
        var layers = names.Layers.Where(layer => !layer.Shape.IsNorm && models.Parts.Contains(layer.Component)).ToList();
        models.RequireSame(layers);
        var type = AdapterFacts.TypeOf(options.Precision);
        var extractor = new LayerExtractor(options, type.ToScalarType(), streams["range"]);
        var (made, left) = (new List<ComputedLayer>(), new LeftOut());
        for (var i = 0; i < layers.Count; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            progress?.Report(new(i, layers.Count, $"{layers[i].Component}.{layers[i].Path}"));
            if (Extract(layers[i]) is { } layer) made.Add(layer);
        }
        progress?.Report(new(layers.Count, layers.Count, ""));
        if (made.Count == 0) throw new CheckpointException($"nothing to extract: no layer of {string.Join(" and ", models.Parts)} {(left.Unchanged.Count == layers.Count ? "differs" : "that is asked for differs")}; {options.Base} and {options.Tuned}; compare a model with what was trained from it");
        left.Rest = models.RestOf(layers);
        var what = Invariant($"difference of {Path.GetFileName(Path.TrimEndingDirectorySeparator(options.Tuned))} to {Path.GetFileName(Path.TrimEndingDirectorySeparator(options.Base))}, {Rule(options)}");
        AdapterWriter.Write(options.Output, [.. made.Select(item => item.Layer)], names, new AdapterSaveOptions { Type = type, Base = $"{Path.GetFileName(Path.TrimEndingDirectorySeparator(options.Base))} ({family.Name})", BaseVersion = family.BaseVersion, Options = "extract: " + what });
        return WrittenAdapter.Of(options.Output, what, $"{options.Base} ({family.Name})", made, [], left.Notes(made));

        ComputedLayer? Extract(ModelLayer layer)
        {
            using var inner = NewDisposeScope();
            var difference = models.Difference(layer.Component, layer.Path + ".weight").flatten(1);
            var largest = difference.abs().max().item<float>();
            if (!float.IsFinite(largest)) throw models.RefuseNotFinite(layer.Component, layer.Path + ".weight");
            if (largest <= options.MinDiff)
            {
                left.Unchanged.Add(layer);
                return null;
            }
            if (extractor.LeavesOut(layer.Shape))
            {
                left.Convolutions.Add((layer, Math.Pow(difference.norm().item<float>(), 2)));
                return null;
            }
            var computed = extractor.Extract(layer, difference);
            foreach (var tensor in computed.Layer.Factors.Values) tensor.MoveToOuterDisposeScope();
            return computed;
        }
    }

    private static string Rule(ExtractOptions options) => options switch
    {
        { Rank: { } rank } => Invariant($"rank {rank}"),
        { Energy: { } energy } => Invariant($"energy {energy}"),
        { Threshold: { } threshold } => Invariant($"threshold {threshold}"),
        { Ratio: { } ratio } => Invariant($"ratio {ratio}"),
        _ => Invariant($"quantile {options.Quantile}"),
    };

    /// <summary>What of the difference is in no layer of the adapter.</summary>
    private sealed class LeftOut
    {
        public List<ModelLayer> Unchanged { get; } = [];

        public List<(ModelLayer Layer, double Square)> Convolutions { get; } = [];

        /// <summary>Biases, norms and embeddings that differ, and the sum of their squared differences.</summary>
        public (int Count, double Square) Rest { get; set; }

        public IEnumerable<string> Notes(IReadOnlyList<ComputedLayer> made)
        {
            var convolutions = Convolutions.Sum(item => item.Square);
            var all = made.Sum(layer => layer.Norm * layer.Norm) + convolutions + Rest.Square;
            if (Unchanged.Count > 0) yield return Invariant($"{Unchanged.Count} layers do not differ and are left out");
            if (Convolutions.Count > 0) yield return Invariant($"{Convolutions.Count} convolutions larger than 1×1 differ and are left out: {convolutions / all:P1} of the squared difference");
            if (Rest.Count > 0) yield return Invariant($"{Rest.Count} biases, norms and embeddings differ, for which a LoRA has no place: {Rest.Square / all:P1} of the squared difference");
        }
    }
}
