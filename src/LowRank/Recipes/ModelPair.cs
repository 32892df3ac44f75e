using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>The weights of two models of the same networks, one tensor at a time. Owns the open files.</summary>
internal sealed class ModelPair : IDisposable
{
    private const int Shown = 10;
    private readonly ModelWeights first, second;

    /// <param name="first">As for <see cref="FamilyDetector.Open"/>.</param>
    /// <param name="second">The same.</param>
    /// <param name="parts">Networks to compare; empty: all of the first that adapters can change.</param>
    /// <param name="config">Folder with the configurations of checkpoints of one file; null: see <see cref="FileOptions"/>.</param>
    /// <exception cref="CheckpointException">There is no such model, or one lacks a part.</exception>
    /// <exception cref="OptionsException">Configurations for models that are folders.</exception>
    public ModelPair(string first, string second, IReadOnlyList<string> parts, string? config)
    {
        if (config is not null && !IsFile(first) && !IsFile(second)) throw new OptionsException($"config is for checkpoints of one file, and both models are folders; {first} and {second}; leave it out");
        FileOptions = Like(first, second, config);
        this.first = ModelWeights.Open(first, FileOptions);
        try
        {
            this.second = ModelWeights.Open(second, Like(second, first, config));
            Parts = parts.Count > 0 ? parts : [.. this.first.Components];
            foreach (var model in new[] { this.first, this.second }) model.RequireParts(Parts);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>How the first model is read: a checkpoint of one file has the configurations that are named, else those of the other model where that is a folder, as they are to be of one kind; null for a folder.</summary>
    public ModelFileOptions? FileOptions { get; }

    /// <summary>The networks that are compared.</summary>
    public IReadOnlyList<string> Parts { get; }

    /// <summary>Every file that is open.</summary>
    public IEnumerable<string> Files => first.Files.Concat(second.Files);

    /// <summary>Second − first in float32, of the weight's shape. In the caller's scope.</summary>
    public Tensor Difference(string component, string key) => second.Map(component, key).to(ScalarType.Float32, copy: true).sub_(first.Map(component, key).to(ScalarType.Float32));

    /// <summary>Checks that both have these layers, in one shape.</summary>
    /// <exception cref="CheckpointException">The first ten that they do not.</exception>
    public void RequireSame(IReadOnlyList<ModelLayer> layers)
    {
        var differ = layers.Where(layer => !Shape(first, layer).SequenceEqual(layer.Shape.Weight) || !Shape(second, layer).SequenceEqual(layer.Shape.Weight)).ToList();
        if (differ.Count == 0) return;
        var lines = differ.Take(Shown).Select(layer => $"  {layer.Component}.{layer.Path}: {Sizes(first, layer)} and {Sizes(second, layer)}");
        throw new CheckpointException($"""
            the models are not of one kind: {differ.Count} of {layers.Count} layers have other shapes; {first.Model} and {second.Model}
            {string.Join('\n', lines)}{(differ.Count > Shown ? Invariant($"\n  and {differ.Count - Shown} more") : "")}
              compare a model with what was trained from it
            """);

        static string Sizes(ModelWeights model, ModelLayer layer) => Shape(model, layer) is { Count: > 0 } shape ? Shapes.Show(shape) : "nothing";
        static IReadOnlyList<long> Shape(ModelWeights model, ModelLayer layer) => model.ShapeOf(layer.Component, layer.Path + ".weight") ?? [];
    }

    /// <summary>How many other tensors of these parts differ (biases, norms, embeddings), and the sum of their squared differences.</summary>
    public (int Count, double Square) RestOf(IEnumerable<ModelLayer> layers)
    {
        var known = layers.Select(layer => (layer.Component, layer.Path + ".weight")).ToHashSet();
        var (count, sum) = (0, 0.0);
        foreach (var (component, key) in Parts.SelectMany(part => first.KeysOf(part).Select(key => (part, key))).Where(item => !known.Contains(item) && second.Has(item.part, item.key)))
        {
            using var scope = NewDisposeScope();
            if (!first.ShapeOf(component, key)!.SequenceEqual(second.ShapeOf(component, key)!)) continue;   // a table with more tokens
            var square = Math.Pow(Difference(component, key).norm().item<float>(), 2);
            if (square > 0) count++;
            sum += square;
        }
        return (count, sum);
    }

    /// <summary>Says which of the two has the numbers that are none.</summary>
    public CheckpointException RefuseNotFinite(string component, string key)
    {
        using var scope = NewDisposeScope();
        var bad = new[] { first, second }.First(model => !model.Map(component, key).to(ScalarType.Float32).isfinite().all().item<bool>());
        return new CheckpointException($"{component}.{key} has numbers that are not finite; in {bad.Model}; take another save of the model");
    }

    private static ModelFileOptions? Like(string model, string other, string? config) =>
        IsFile(model) && (config ?? (IsFile(other) ? null : FamilyDetector.Find(other))) is { } folder ? new ModelFileOptions { Config = folder } : null;

    private static bool IsFile(string model) => File.Exists(FamilyDetector.Find(model));

    /// <inheritdoc/>
    public void Dispose()
    {
        first.Dispose();
        second?.Dispose();
    }
}
