using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>Says what an adapter file holds, for which model it was made, and what is wrong with it. Needs no model.</summary>
public static class InspectAdapter
{
    /// <summary>Reads a whole file. A file with problems gives a report of them.</summary>
    /// <param name="path">An adapter file of any convention, or a folder that PEFT or diffusers wrote.</param>
    /// <exception cref="CheckpointException">There is none, or it is no intact tensor file.</exception>
    public static AdapterReport Run(string path)
    {
        using var file = AdapterFile.Open(path);
        var usable = file.Modules.Where(module => module.IsUsable).ToList();
        var places = file.Modules.Where(module => module.Kind is not null || module.Algorithm is not null).Select(module => (Module: module, Place: ModulePlace.Of(module))).ToList();
        var ranked = usable.Where(module => module.Kind!.Kind is not null || module.Kind.HasRank(module)).ToList();
        var norms = usable.ToDictionary(module => module, module => module.DeltaNorm());
        var guess = BaseGuess.Of(file);
        return new AdapterReport
        {
            File = file.Path,
            Bytes = file.Length,
            Sha256 = Hash(file.Files),
            Formats = file.Conventions.Select(convention => convention.InWords()).ToList(),
            Types = file.Tensors.GroupBy(info => info.Type).OrderByDescending(group => group.Count()).Select(group => group.Key.ToString()).ToList(),
            Kinds = Kinds(file),
            Modules = places.GroupBy(item => item.Place.Component).OrderByDescending(group => group.Key, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Count()),
            Targets = places.GroupBy(item => item.Place.Layer).OrderByDescending(group => group.Count()).ThenBy(group => group.Key, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Count()),
            Ranks = ranked.Select(module => module.Rank).Distinct().Order().ToList(),
            Alphas = ranked.Select(module => module.EffectiveAlpha).Distinct().Order().ToList(),
            Scales = ranked.Select(module => module.Scale).Distinct().Order().ToList(),
            Base = guess?.Name,
            BaseEvidence = guess?.Because,
            Norms = places.Where(item => norms.ContainsKey(item.Module))
                .OrderBy(item => item.Place.Order, StringComparer.Ordinal)
                .GroupBy(item => item.Place.InWords)
                .ToDictionary(group => group.Key, group => Math.Sqrt(group.Sum(item => norms[item.Module] * norms[item.Module]))),
            Embeddings = file.Embeddings.Select(item => $"{item.Name} {Shapes.Show(item.Shape)}").ToList(),
            Metadata = file.Metadata.OrderBy(item => item.Key, StringComparer.Ordinal).ToDictionary(),
            Trouble = Trouble(file, usable, norms).ToList(),
            LoadsIn = usable.Count == places.Count && usable.Count > 0 && usable.TrueForAll(module => module.Kind!.Kind == AdapterKind.Lora) ? Readers.Of(file) : new Dictionary<string, string>(),
        };
    }

    /// <summary>Reports as one JSON document: an array, keys in snake_case; a number that is none as "NaN".</summary>
    public static string ToJson(IReadOnlyList<AdapterReport> reports) => JsonSerializer.Serialize(reports, HubJson.Own);

    private static List<string> Kinds(AdapterFile file)
    {
        var kinds = file.Modules.Where(module => module.IsUsable).Select(module => module.Kind!.Name).Concat(file.Modules.Select(module => module.Algorithm).OfType<string>()).Distinct().OrderByDescending(kind => kind == "LoRA").ToList();
        if (file.Embeddings.Count > 0) kinds.Add("embeddings");
        return kinds;
    }

    private static IEnumerable<string> Trouble(AdapterFile file, List<FileModule> usable, Dictionary<FileModule, double> norms)
    {
        foreach (var problem in file.Problems.Concat(file.Warnings)) yield return problem;
        foreach (var module in usable.Where(module => !double.IsFinite(norms[module]))) yield return $"{module.Name}: not finite: {module.NotFinite() ?? "the product overflows"}";
        var dead = usable.Where(module => norms[module] == 0).Select(module => module.Name).ToList();
        if (dead.Count > 0) yield return string.Create(CultureInfo.InvariantCulture, $"{dead.Count} of {usable.Count} modules change nothing (a factor is zero): {AdapterFile.Some(dead)}");
        var flat = usable.Where(module => module.Kind!.HasRank(module) && module.Convention is AdapterConvention.Kohya or AdapterConvention.Lycoris).ToList();
        var without = flat.Count(module => module.Alpha is null);
        if (without > 0) yield return string.Create(CultureInfo.InvariantCulture, $"{without} of {flat.Count} modules have no alpha: their scale is 1");
        if (flat.Select(module => (module.Rank, module.EffectiveAlpha)).Distinct().Count() > 1) yield return "ranks or alphas differ by module: diffusers scales some modules of such a file wrongly";
        var generations = file.Conventions.Intersect([AdapterConvention.Peft, AdapterConvention.Diffusers, AdapterConvention.AttentionProcessors]).ToList();
        if (generations.Contains(AdapterConvention.Peft) && generations.Count > 1) yield return "generations of keys are mixed: diffusers looks at the first key only and drops the others in silence";
    }

    /// <summary>Of one file as everybody has it, of several one after the other.</summary>
    private static string Hash(IEnumerable<string> paths)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[1 << 20];
        foreach (var path in paths)
        {
            using var stream = File.OpenRead(path);
            for (int count; (count = stream.Read(buffer)) > 0;) hash.AppendData(buffer, 0, count);
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
