using LowRank.Adapters;
using LowRank.Adapters.Combining;
using LowRank.Families;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>Several adapters, of any conventions, ranks and modules, become one: layer by layer, by what they change.</summary>
public static class CombineAdapters
{
    /// <summary>Combines them, and says how near the result comes to what the method asks for.</summary>
    /// <param name="options">Which, how, and where to.</param>
    /// <param name="progress">Hears of every layer.</param>
    /// <param name="cancellation">Stops between layers; nothing is written then.</param>
    /// <exception cref="LowRankException">Options that contradict each other, files that are damaged or are not for one model, kinds that the method cannot take.</exception>
    public static WrittenAdapter Run(CombineOptions options, IProgress<LayerProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        using var files = OpenAdapters.Open(options.Inputs.Select(input => input.File));
        OutputFile.RequireOther(options.Output, files.All.Select(file => file.Path));
        using var model = files.FindBase(options.Model);
        using var weights = options.Model is { } named && files.All.Any(file => file.Modules.Any(module => module.IsUsable && LayerChange.NeedsBase(module))) ? ModelWeights.Open(named) : null;
        return Run(options, files.All, new CombineBase(model.Names, model.Title, weights is null ? null : layer => weights.Map(layer.Component, layer.Path + ".weight")), null, progress, cancellation);
    }

    /// <summary>The same for files that are open already, and a model whose layers are known.</summary>
    /// <param name="options">As above.</param>
    /// <param name="files">In the order of the options' inputs.</param>
    /// <param name="model">The layers.</param>
    /// <param name="draw">DARE's numbers; null: of the options' seed.</param>
    /// <param name="progress">As above.</param>
    /// <param name="cancellation">As above.</param>
    internal static WrittenAdapter Run(CombineOptions options, IReadOnlyList<AdapterFile> files, CombineBase model, Func<long[], Tensor>? draw, IProgress<LayerProgress>? progress, CancellationToken cancellation)
    {
        using var streams = new RandomStreams(options.Seed);
        var inputs = new CombineInputs(files, [.. options.Inputs.Select(input => input.Strength)], model);
        using var tokens = new CombinedTokens(files);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var type = options.Precision is { } precision ? AdapterFacts.TypeOf(precision) : inputs.WidestType();
        var combiner = new LayerCombiner(options, type.ToScalarType(), draw ?? (shape => rand(shape, ScalarType.Float32, generator: streams["dare"])), model.Weight);
        var (made, layers) = (new List<ComputedLayer>(), Wanted(options, inputs.Layers(model.Names)));
        foreach (var (layer, parts) in layers)
        {
            cancellation.ThrowIfCancellationRequested();
            progress?.Report(new(made.Count, layers.Count, $"{layer.Component}.{layer.Path}"));
            made.Add(combiner.Combine(layer, parts));
        }
        progress?.Report(new(made.Count, layers.Count, ""));
        var what = $"{options.Method.ToString().ToLowerInvariant()}{(options.Factors ? " of the factors" : "")} of {inputs}";
        AdapterWriter.Write(options.Output, [.. made.Select(item => item.Layer)], model.Names, new AdapterSaveOptions { Type = type, Base = model.Title, BaseVersion = inputs.BaseVersion, Options = "combine: " + what, Embeddings = tokens.All });
        return WrittenAdapter.Of(options.Output, what, model.Title, made, tokens.All.Select(token => token.Token), [.. inputs.Notes, .. tokens.Notes, .. made.Count > 0 && made.TrueForAll(item => item.Norm == 0) ? ["changes nothing: all that was left is 0"] : Array.Empty<string>()]);
    }

    /// <summary>Without what weighs nothing: in a sum it would only widen the factors. (Where signs are elected it has its say.)</summary>
    private static List<(ModelLayer Layer, IReadOnlyList<Contribution> Parts)> Wanted(CombineOptions options, IEnumerable<(ModelLayer Layer, IReadOnlyList<Contribution> Parts)> layers) =>
        [.. layers.Select(item => (item.Layer, Parts: options.IsSum ? [.. item.Parts.Where(part => part.Input.Weight != 0)] : item.Parts)).Where(item => item.Parts.Count > 0)];
}
