using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Adapter files for tiny models, with numbers of a seed in every factor.</summary>
internal static class MadeAdapter
{
    /// <summary>A tiny model of the fixtures.</summary>
    public static string Model(string pipeline) => Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", pipeline);

    /// <summary>Writes one for the denoiser and the text encoders of a model.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">A folder, or icons-64.</param>
    /// <param name="options">Kind, targets, ranks.</param>
    /// <param name="change">Changes the layers before they are written; null for none.</param>
    /// <param name="save">How it is written; null for kohya's F32 without metadata of a base.</param>
    /// <param name="size">Largest number that is added to the factors.</param>
    public static string Write(string path, string model, AdapterOptions options, Action<AdapterSet>? change = null, AdapterSaveOptions? save = null, double size = 0.1)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var family = FamilyDetector.Open(model);
        using var random = new Generator(7);
        using var set = AdapterSet.Create(family.ComponentNames.ToDictionary(name => name, family.Component), options, random, CPU);
        set.FlatParameters.AddInPlace(rand(set.FlatParameters.shape, generator: random).Minus(0.5).Times(2 * size));
        change?.Invoke(set);
        AdapterWriter.Write(path, set, save ?? new AdapterSaveOptions { Type = StoredType.F32 });
        return path;
    }

    /// <summary>Writes these tensors as they are.</summary>
    public static string Write(string path, Dictionary<string, Tensor> tensors, Dictionary<string, string>? metadata = null)
    {
        SafetensorsWriter.Write(path, tensors, metadata);
        return path;
    }
}
