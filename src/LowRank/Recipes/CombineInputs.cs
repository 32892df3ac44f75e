using LowRank.Adapters;
using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>One of the adapters that become one.</summary>
/// <param name="File">Open.</param>
/// <param name="Weight">Factor of all that it changes.</param>
/// <param name="Fit">Which of its modules is for which layer.</param>
internal sealed record CombineInput(AdapterFile File, double Weight, AdapterFit Fit)
{
    /// <summary>Its file's name.</summary>
    public string Name => Path.GetFileName(File.Path);
}

/// <summary>What one input has for a layer.</summary>
internal readonly record struct Contribution(CombineInput Input, FileModule Module);

/// <summary>Adapter files that are open at the same time. Owns them.</summary>
internal sealed class OpenAdapters : IDisposable
{
    private readonly List<AdapterFile> all = [];

    /// <summary>In their order.</summary>
    public IReadOnlyList<AdapterFile> All => all;

    /// <summary>Opens the files.</summary>
    /// <exception cref="CheckpointException">One of them is no intact tensor file.</exception>
    public static OpenAdapters Open(IEnumerable<string> paths)
    {
        var files = new OpenAdapters();
        try
        {
            foreach (var path in paths) files.all.Add(AdapterFile.Open(path));
            return files;
        }
        catch
        {
            files.Dispose();
            throw;
        }
    }

    /// <summary>The base whose layers all files are about: by its name, or the one that some file is found to be for and all others fit.</summary>
    /// <param name="model">As for <see cref="AdapterBase.Find"/>.</param>
    /// <returns>The caller disposes it. Where none fits all, the first file's: fitting the others to it says what is wrong.</returns>
    public AdapterBase FindBase(string? model)
    {
        var first = AdapterBase.Find(all[0], model);
        if (model is not null || FitsAll(first)) return first;
        foreach (var file in all.Skip(1))
        {
            var other = AdapterBase.Find(file, model: null);
            if (FitsAll(other))
            {
                first.Dispose();
                return other;
            }
            other.Dispose();
        }
        return first;

        bool FitsAll(AdapterBase candidate) => all.TrueForAll(file => new AdapterFit(file, candidate.Names).IsWhole);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var file in all) file.Dispose();
    }
}

/// <summary>The layers that a combination is for.</summary>
/// <param name="Names">By every name that files have for them.</param>
/// <param name="Title">The model in words.</param>
/// <param name="Weight">The base's weight of a layer, which the caller of it owns, for kinds that need it; null where no base is given.</param>
internal sealed record CombineBase(ModuleNames Names, string Title, Func<ModelLayer, Tensor>? Weight);

/// <summary>The adapters of a combination, fitted to the layers of one model.</summary>
internal sealed class CombineInputs
{
    /// <param name="files">In their order; they stay the caller's.</param>
    /// <param name="weights">One for each.</param>
    /// <param name="model">The layers.</param>
    /// <exception cref="CheckpointException">A file does not fit, or holds what cannot be used; all is listed.</exception>
    public CombineInputs(IReadOnlyList<AdapterFile> files, IReadOnlyList<double> weights, CombineBase model)
    {
        var load = new AdapterLoadOptions { Model = model.Title, EmbeddingsAreUsed = true };
        All = [.. files.Zip(weights, (file, weight) => new CombineInput(file, weight, new AdapterFit(file, model.Names)))];
        Notes = [.. All.SelectMany(input => input.Fit.Require(load).Select(warning => $"{input.Name}: {warning}"))];
    }

    /// <summary>In their order.</summary>
    public IReadOnlyList<CombineInput> All { get; }

    /// <summary>What using them does that one may not expect.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <summary>What the inputs have for each layer that any of them has, in module order.</summary>
    public IReadOnlyList<(ModelLayer Layer, IReadOnlyList<Contribution> Parts)> Layers(ModuleNames names)
    {
        var parts = All.SelectMany(input => input.Fit.Matched.Select(item => (item.Layer, Part: new Contribution(input, item.Module)))).ToLookup(item => item.Layer, item => item.Part);
        return [.. names.LayersAndNorms.Where(parts.Contains).Select(layer => (layer, (IReadOnlyList<Contribution>)[.. parts[layer]]))];
    }

    /// <summary>The version that the files' metadata name, where all that name one agree; else null.</summary>
    public string? BaseVersion => All.Select(input => input.File.Metadata.GetValueOrDefault("ss_base_model_version")).OfType<string>().Distinct().ToList() is [var one] ? one : null;

    /// <summary>The narrowest type that holds every factor of every file as it is.</summary>
    public StoredType WidestType()
    {
        var types = All.SelectMany(input => input.File.Modules).SelectMany(module => module.Parameters.Where(name => name != "alpha").Select(name => module[name]!.Type)).Distinct().ToList();
        return types switch
        {
            [StoredType.BF16] => StoredType.BF16,
            _ when types.TrueForAll(type => type is StoredType.F16 or StoredType.F8_E4M3 or StoredType.F8_E5M2) => StoredType.F16,
            _ => StoredType.F32,
        };
    }

    /// <summary>"a.safetensors × 0.8 + b.safetensors": without folders, for files that are shared.</summary>
    public override string ToString() => string.Join(" + ", All.Select(input => input.Weight == 1 ? input.Name : Invariant($"{input.Name} × {input.Weight}")));
}
