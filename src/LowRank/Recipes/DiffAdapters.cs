using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>How far apart two adapters are: by what they change (ΔW), whatever conventions, ranks and factors the files have.</summary>
public static class DiffAdapters
{
    /// <summary>
    /// Compares every module. Changes that are products are compared through their factors, in float64, and never multiplied out where that is larger. Files that name their modules
    /// alike need no base; others are matched by the layers of the model that is named, or of the published model that the first file fits.
    /// </summary>
    /// <param name="first">An adapter file of any convention, a folder that PEFT or diffusers wrote, or the name of an adapter that comes with the program.</param>
    /// <param name="second">Another.</param>
    /// <param name="model">Their base, as for <see cref="FamilyDetector.Open"/>; null: found by names and shapes. Needed, and its weights are read, where a kind's change depends on them (DoRA among others).</param>
    /// <exception cref="CheckpointException">A file is damaged or of no kind that is read, or their modules cannot be told to be the same.</exception>
    public static AdapterDifference Run(string first, string second, string? model = null)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var a = AdapterFile.Open(first);
        using var b = AdapterFile.Open(second);
        using var known = NamedAlike(a, b) && model is null ? null : AdapterBase.Find(a, model);
        using var family = model is not null && a.Modules.Concat(b.Modules).Any(module => module.Kind?.DependsOnBase == true) ? FamilyDetector.Open(model) : null;
        var own = Modules(a, known);
        var others = Modules(b, known);
        var modules = own.Keys.Union(others.Keys).Select(key => Compare(own.GetValueOrDefault(key), others.GetValueOrDefault(key), family)).ToList();
        return new AdapterDifference
        {
            First = Side(a),
            Second = Side(b),
            Base = known?.Title,
            Modules = modules,
            Metadata = a.Metadata.Keys.Union(b.Metadata.Keys).Where(key => a.Metadata.GetValueOrDefault(key) != b.Metadata.GetValueOrDefault(key)).Order(StringComparer.Ordinal).ToList(),
        };
    }

    /// <summary>Whether the modules of one file are among those of the other by name.</summary>
    private static bool NamedAlike(AdapterFile a, AdapterFile b)
    {
        var (few, many) = a.Modules.Count < b.Modules.Count ? (a, b) : (b, a);
        var plain = a.Modules.Concat(b.Modules).All(module => module.Convention != AdapterConvention.Package2022 && module.Kind is Adapters.Kinds.LoraKind);
        return plain && few.Modules.All(module => many.Modules.Any(other => other.Lookup == module.Lookup));
    }

    /// <summary>By component and path, or by name where no base is known, in the file's order.</summary>
    private static Dictionary<string, (FileModule Module, ModelLayer? Layer)> Modules(AdapterFile file, AdapterBase? known)
    {
        if (known is not null) return known.Match(file).ToDictionary(item => $"{item.Layer.Component}.{item.Layer.Path}", item => (item.Module, (ModelLayer?)item.Layer));
        if (file.Problems.Count > 0) throw TensorFile.Refuse(file.Path, $"adapter cannot be used: {AdapterFile.Some(file.Problems.ToList())}", "look at it with: lora inspect");
        return file.Modules.Where(module => module.IsUsable).ToDictionary(module => module.Lookup, module => (module, (ModelLayer?)null));
    }

    private static ModuleDifference Compare((FileModule Module, ModelLayer? Layer) a, (FileModule Module, ModelLayer? Layer) b, IDiffusionFamily? family)
    {
        using var scope = NewDisposeScope();
        var own = a.Module is null ? null : ModuleChange.Of(a.Module, a.Layer, Weight(a, family));
        var other = b.Module is null ? null : ModuleChange.Of(b.Module, b.Layer, Weight(b, family));
        var (norm, otherNorm) = (own?.Norm() ?? 0, other?.Norm() ?? 0);
        var both = own is not null && other is not null;
        var same = both && own!.Equals(other!);
        var named = Name(own is null ? b : a);
        return new ModuleDifference
        {
            Module = named,
            Place = ModulePlace.Of(named),
            First = own is null ? null : Side(own, norm),
            Second = other is null ? null : Side(other, otherNorm),
            Dot = both ? (same ? norm * norm : own!.Dot(other!)) : 0,
            Distance = same ? 0 : both ? own!.Distance(other!) : norm + otherNorm,
            InputCosines = both ? own!.InputCosines(other!) : null,
        };
    }

    /// <summary>As its file names it, or by its layer where the file has numbers only.</summary>
    private static string Name((FileModule Module, ModelLayer? Layer) item) =>
        item is { Module.Convention: AdapterConvention.Package2022, Layer: { } layer } ? $"{layer.Component}.{layer.Path}" : item.Module.Name;

    /// <summary>W of the layer, for kinds that need it.</summary>
    private static Parameter? Weight((FileModule Module, ModelLayer? Layer) item, IDiffusionFamily? family)
    {
        if (!item.Module.Kind!.DependsOnBase) return null;
        if (family is null) throw new CheckpointException($"{item.Module.Name}: the change of a {item.Module.Kind.Name} depends on the weights of its base, and no base is named; name it with --model");
        return LayerShape.WeightOf(ModuleTree.Walk(family.Component(item.Layer!.Component)).First(found => found.Path == item.Layer.Path).Module);
    }

    private static ComparedFile Side(AdapterFile file) => new() { File = file.Path, Looks = file.Looks() };

    private static ComparedModule Side(ModuleChange change, double norm)
    {
        var values = change.SingularValues();
        var factors = new Dictionary<string, FactorExtent>();
        foreach (var parameter in change.Module.Parameters.Where(name => name != AdapterKey.Alpha))
        {
            using var scope = NewDisposeScope();
            var sizes = change.Module.Read(parameter).abs();
            var largest = sizes.max();
            factors[change.Module.Word(parameter)] = new FactorExtent { Largest = largest.item<float>(), AtLargest = largest.item<float>() == 0 ? 0 : sizes.eq(largest).sum().item<long>() };
        }
        return new ComparedModule
        {
            Kind = change.Module.Kind!.Name,
            Rank = change.Module.Rank,
            Alpha = change.Module.EffectiveAlpha,
            Norm = norm,
            SingularValues = values,
            StableRank = values is null ? null : values[0] == 0 ? 0 : values.Sum(value => value * value) / (values[0] * values[0]),
            Factors = factors,
        };
    }
}
