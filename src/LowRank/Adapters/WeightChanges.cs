using System.Collections.Concurrent;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>
/// What several adapter files together change in a model, weight by weight: W' = W + Σ ΔW. Factors are read when a weight is asked for and gone afterwards,
/// so memory does not grow with the adapters. May be asked from several threads.
/// </summary>
/// <param name="names">The model's layers; an outline will do.</param>
internal sealed class WeightChanges(ModuleNames names)
{
    private readonly Dictionary<(string Component, string Key), List<Change>> changes = [];
    private readonly ConcurrentDictionary<(string Component, string Key), double> norms = [];

    /// <summary>What one module of a file does to one tensor.</summary>
    private readonly record struct Change(FileModule Module, ModelLayer Layer, double Strength, bool OfBias);

    /// <summary>Every weight and bias that changes.</summary>
    public IReadOnlyCollection<(string Component, string Key)> Keys => changes.Keys;

    /// <summary>‖Σ ΔW‖ (Frobenius) of those that were asked for.</summary>
    public IReadOnlyDictionary<(string Component, string Key), double> Norms => norms;

    /// <summary>Adds a file. Layers whose strength is 0 stay as they are.</summary>
    /// <param name="file">Stays open as long as weights are asked for.</param>
    /// <param name="strength">Of the whole file; any number.</param>
    /// <param name="parts">Factors of it.</param>
    /// <param name="options">What is forgiven, and the model in words.</param>
    /// <returns>What one may not expect, and how many of its modules change something.</returns>
    /// <exception cref="CheckpointException">It does not fit, is not finite, or changes a bias that the model lacks.</exception>
    /// <exception cref="OptionsException">Factors for parts or blocks that the model lacks.</exception>
    public (IReadOnlyList<string> Warnings, int Modules) Add(AdapterFile file, double strength, PartStrengths parts, AdapterLoadOptions options)
    {
        var fit = new AdapterFit(file, names);
        var warnings = fit.Require(options);
        var factors = parts.On(names);
        var modules = 0;
        foreach (var (module, layer) in fit.Matched)
        {
            if (module.NotFinite() is not null) throw fit.RefuseNotFinite(options);
            var own = strength * factors(layer.Component, layer.Path);
            if (own == 0) continue;
            modules++;
            if (module.Kind!.ChangesWeight(module)) Add($"{layer.Path}.weight", new(module, layer, own, OfBias: false));
            if (!module.Kind.ChangesBias(module)) continue;
            if (LayerShape.BiasOf(layer.Module) is null)
            {
                throw new CheckpointException($"adapter cannot be merged: {module.Name} changes the bias of {layer.Component}.{layer.Path}, which has none; in {file.Path}; attach it instead: lora generate --adapter");
            }
            Add($"{layer.Path}.bias", new(module, layer, own, OfBias: true));
        }
        return (warnings, modules);

        void Add(string key, Change change) => (changes.TryGetValue((change.Layer.Component, key), out var list) ? list : changes[(change.Layer.Component, key)] = []).Add(change);
    }

    /// <summary>Adds to a weight or bias, in place, what all files change in it.</summary>
    /// <param name="component">unet, text_encoder, ….</param>
    /// <param name="key">One of <see cref="Keys"/>.</param>
    /// <param name="weight">In the module's shape (a bias (out)), float32 or float64, of any strides: W becomes W'.</param>
    /// <exception cref="CheckpointException">The change is not finite, or the weight has another shape.</exception>
    public void ApplyTo(string component, string key, Tensor weight)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var list = changes[(component, key)];
        long[] wanted = list[0].OfBias ? [list[0].Layer.Shape.Outputs] : list[0].Layer.Shape.Weight;
        if (!weight.shape.SequenceEqual(wanted)) throw new CheckpointException($"the model's weights and its configuration contradict each other: {component}.{key} has the shape {Shapes.Show(weight.shape)}, the configuration makes it {Shapes.Show(wanted)}; use the weights and the configuration of one model");
        var norm = list is [{ OfBias: false } only] ? only.Module.LayerOn(only.Layer).AddTo(weight, only.Strength) : AddSum(list, weight);
        norms[(component, key)] = double.IsFinite(norm) ? norm
            : throw new CheckpointException($"adapter cannot be merged: its change of {component}.{key} is not finite; in {string.Join(", ", list.Select(change => change.Module.File).Distinct())}; an earlier save of the adapter, or a strength nearer to 1");
    }

    private static double AddSum(List<Change> list, Tensor weight)
    {
        Tensor? sum = null;
        foreach (var change in list)
        {
            using var inner = NewDisposeScope();
            var layer = change.Module.LayerOn(change.Layer);
            var delta = change.OfBias ? layer.BiasDelta(change.Strength)! : layer.DeltaOn(weight.contiguous(), change.Strength);
            if (sum is null) sum = delta.MoveToOuterDisposeScope();
            else sum.AddInPlace(delta);   // moving it again would take it out of the caller's scopes too, one by one
        }
        weight.AddInPlace(sum!);
        return sum!.norm().item<float>();
    }
}
