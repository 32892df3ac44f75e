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
    /// <summary>Bytes of the largest file that is read whole without being asked to.</summary>
    internal const long ReadWholeUpTo = 50_000_000;

    /// <summary>
    /// Reads headers and alphas, and of files up to 50 MB (or any, where asked to) all numbers: hash, norms, and what is wrong with numbers. A file with problems gives a report
    /// of them.
    /// </summary>
    /// <param name="path">An adapter file of any convention, or a folder that PEFT or diffusers wrote.</param>
    /// <param name="full">Whether to read a larger file whole too: about a second for each 50 MB.</param>
    /// <exception cref="CheckpointException">There is none, or it is no intact tensor file.</exception>
    public static AdapterReport Run(string path, bool full = false)
    {
        using var file = AdapterFile.Open(path);
        var whole = full || file.Length <= ReadWholeUpTo;
        var usable = file.Modules.Where(module => module.IsUsable).ToList();
        if (whole) InspectMachine.RequireEngine();
        var measures = whole ? new AdapterMeasures(file) : null;
        var places = file.Modules.Where(module => module.Kind is not null || module.Algorithm is not null).Select(module => measures?.Places[module] ?? ModulePlace.Of(module)).ToList();
        var ranked = usable.Where(module => module.Kind!.Kind is not null || module.Kind.HasRank(module)).ToList();
        var guess = BaseGuess.Of(file);
        return new AdapterReport
        {
            File = file.Path,
            Bytes = file.Length,
            Sha256 = whole ? Hash(file.Files) : null,
            Formats = file.Conventions.Select(convention => convention.InWords()).ToList(),
            Types = file.Tensors.GroupBy(info => info.Type).OrderByDescending(group => group.Count()).Select(group => group.Key.ToString()).ToList(),
            Kinds = Kinds(file),
            Modules = places.GroupBy(place => place.Component).OrderByDescending(group => group.Key, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Count()),
            Targets = places.GroupBy(place => place.Layer).OrderByDescending(group => group.Count()).ThenBy(group => group.Key, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Count()),
            Ranks = ranked.Select(module => module.Rank).Distinct().Order().ToList(),
            Alphas = ranked.Select(module => module.EffectiveAlpha).Distinct().Order().ToList(),
            Scales = ranked.Select(module => module.Scale).Distinct().Order().ToList(),
            Base = guess?.Name,
            BaseEvidence = guess?.Because,
            Training = TrainingWords.Of(file.Metadata),
            Norms = measures?.ByBlock ?? new Dictionary<string, double>(),
            NormsByPart = measures?.ByPart ?? new Dictionary<string, IReadOnlyDictionary<string, double>>(),
            Embeddings = file.Embeddings.Select(item => $"{item.Name} {Shapes.Show(item.Shape)}").ToList(),
            Metadata = file.Metadata.OrderBy(item => item.Key, StringComparer.Ordinal).ToDictionary(),
            Trouble = [.. file.Problems, .. file.Warnings, .. measures?.Trouble() ?? [], .. Habits(file, usable)],
            LoadsIn = usable.Count == places.Count && usable.Count > 0 && usable.TrueForAll(module => module.Kind!.Kind == AdapterKind.Lora) ? Readers.Of(file) : new Dictionary<string, string>(),
        };
    }

    /// <summary>Draws ‖ΔW‖ of a report's blocks as bars.</summary>
    /// <param name="report">Of a file that was read whole.</param>
    /// <param name="path">A PNG; replaced where it exists, and there whole or not at all.</param>
    /// <exception cref="OptionsException">The report has no norms, or the path is that of the adapter itself.</exception>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public static void Plot(AdapterReport report, string path)
    {
        ArgumentNullException.ThrowIfNull(report);
        if (report.Norms.Count == 0) throw new OptionsException($"there is nothing to plot: {report.File} holds no changes of layers whose length is known");
        if (Path.GetFullPath(path) == Path.GetFullPath(report.File)) throw new OptionsException($"the plot would overwrite the adapter; {path}; give it another name");
        AdapterPlot.Write(path, report);
    }

    /// <summary>Reports as one JSON document: an array, keys in snake_case; a number that is none as "NaN".</summary>
    public static string ToJson(IReadOnlyList<AdapterReport> reports) => JsonSerializer.Serialize(reports, HubJson.Own);

    private static List<string> Kinds(AdapterFile file)
    {
        var kinds = file.Modules.Where(module => module.IsUsable).Select(module => module.Kind!.Name).Concat(file.Modules.Select(module => module.Algorithm).OfType<string>()).Distinct().OrderByDescending(kind => kind == "LoRA").ToList();
        if (file.Embeddings.Count > 0) kinds.Add("embeddings");
        return kinds;
    }

    /// <summary>What is in order, and read in different ways by different tools.</summary>
    private static IEnumerable<string> Habits(AdapterFile file, List<FileModule> usable)
    {
        var flat = usable.Where(module => module.Kind!.HasRank(module) && module.Convention is AdapterConvention.Kohya or AdapterConvention.Lycoris).ToList();
        var without = flat.Count(module => module.Alpha is null);
        if (without > 0) yield return string.Create(CultureInfo.InvariantCulture, $"{without} of {flat.Count} modules have no alpha: their scale is 1");
        if (flat.Select(module => (module.Rank, module.EffectiveAlpha)).Distinct().Count() > 1) yield return "ranks or alphas differ by module: diffusers scales some modules of such a file wrongly";
        if (flat.Exists(module => module.Kind!.Kind == AdapterKind.Dora && module["dora_scale"] is { Shape: [> 1, ..] }))
            yield return "A1111, Forge and ComfyUI draw something else with a DoRA that has a length for each output: give them a model with it merged in (lora merge)";
        var generations = file.Conventions.Intersect([AdapterConvention.Peft, AdapterConvention.Diffusers, AdapterConvention.AttentionProcessors]).ToList();
        if (generations.Count < file.Conventions.Count && FileForms.Mixture(file) is { } mixed) yield return mixed;
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
