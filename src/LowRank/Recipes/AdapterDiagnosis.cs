using LowRank.Adapters;
using LowRank.Adapters.Formats;
using static System.FormattableString;

namespace LowRank.Recipes;

/// <summary>What is wrong with an adapter file: in its tensors, and in names and axes where its model is known.</summary>
/// <param name="file">Open.</param>
/// <param name="names">Of its model; null where it is not known.</param>
/// <param name="dropNotFinite">Whether modules with numbers that are none are left out.</param>
internal sealed class AdapterDiagnosis(AdapterFile file, ModuleNames? names, bool dropNotFinite)
{
    private const int MostNames = 3;

    private readonly List<DoctorTrouble> troubles = [];

    /// <summary>All that is wrong.</summary>
    public IReadOnlyList<DoctorTrouble> Troubles => troubles;

    /// <summary>Modules that repairing leaves out.</summary>
    public HashSet<FileModule> Dropped { get; } = [];

    /// <summary>Whether names or axes have to be written anew, for which the model is needed.</summary>
    public bool RewritesNames { get; private set; }

    /// <summary>The convention that it is written in.</summary>
    public WrittenConvention To { get; } = Target(file);

    /// <summary>Looks at everything.</summary>
    public AdapterDiagnosis Run()
    {
        foreach (var module in file.Modules.Where(module => module.NotFinite() is not null))
        {
            if (dropNotFinite) Dropped.Add(module);
            troubles.Add(new($"not finite: {module.Name} ({module.NotFinite()})", dropNotFinite ? "the module is left out" : null, "the training diverged, or half precision overflowed: take an earlier save; --drop-nan leaves the module out"));
        }
        LookAtAlphas();
        foreach (var problem in file.FullProblems.Where(problem => !Dropped.Any(module => problem.What.StartsWith(module.Name + ":", StringComparison.Ordinal)))) troubles.Add(new(problem.What, null, problem.Try));
        if (names is not null && file.Modules.Count > 0) LookAtFit(new AdapterFit(file, names));
        LookAtNames();
        if (file.Metadata.TryGetValue("sshs_model_hash", out var said) && said != AdapterHashes.Of([.. file.Tensors.Select(info => KeyValuePair.Create(info.Name, file.Read(info.Name)))], file.Metadata)["sshs_model_hash"])
        {
            troubles.Add(new("sshs_model_hash is not that of the tensors: the file was changed after it was written", "computed anew"));
        }
        return this;
    }

    /// <summary>What names no layer of the model, or not its own: nothing that could be put right without guessing.</summary>
    private void LookAtFit(AdapterFit fit)
    {
        foreach (var group in fit.AgainstLayers.Where(problem => !Dropped.Any(module => problem.What.StartsWith(module.Name + ":", StringComparison.Ordinal))).GroupBy(problem => problem.Try))
        {
            var found = group.Select(problem => problem.What).ToList();
            troubles.Add(new(Invariant($"{found.Count} of {file.Modules.Count} modules do not fit the model: {AdapterFile.Some(found, MostNames)}"), null, group.Key));
        }
    }

    private void LookAtAlphas()
    {
        var orphans = file.Modules.Where(module => module.Kind is null && module.Parameters.All(parameter => parameter == AdapterKey.Alpha)).ToList();
        Dropped.UnionWith(orphans);
        Add(orphans, "alpha without factors", "left out: it changes nothing");
        var usable = file.Modules.Where(module => module.IsUsable && !Dropped.Contains(module)).ToList();
        Add(usable.Where(LacksAlpha), "no alpha, which some readers need and others guess", "their rank, scale 1, as they are read");
        Add(usable.Where(HasZeroAlpha), "alpha 0, which sd-scripts reads as the rank and others as nothing at all", "their rank, as sd-scripts reads it");
        Add(usable.Where(HasAxis), "alpha with an axis", "a scalar of the same value");
    }

    public static bool LacksAlpha(FileModule module) => module.Convention is AdapterConvention.Kohya or AdapterConvention.Lycoris && module[AdapterKey.Alpha] is null && module.Kind!.HasRank(module);

    public static bool HasAxis(FileModule module) => module[AdapterKey.Alpha] is { Shape.Count: > 0 } alpha && alpha.Shape.All(size => size == 1);

    public static bool HasZeroAlpha(FileModule module) => module.Alpha == 0 && module is { IsUsable: true, Kind.AlphaIsLimit: false };

    private void LookAtNames()
    {
        var blocked = troubles.Exists(trouble => trouble.Cure is null);
        var cure = names is null || blocked ? null : $"rewritten as {To.InWords()} keys throughout";
        var needed = blocked ? "the other trouble stands against it" : "it needs the model, for its names: --model";
        var before = troubles.Count;
        var forms = file.Modules.Select(FileForms.Of).Distinct().ToList();
        if (FileForms.Mixture(file) is { } mixed) troubles.Add(new(mixed, cure, needed));
        Add(file.Modules.Where(module => FileForms.Of(module) == FileForm.Bare), "no part of the model in front of the name: diffusers loads nothing of it, without an error", cure, needed);
        if (forms is [FileForm.Peft] && To != WrittenConvention.Peft) troubles.Add(new($"PEFT's keys without {PeftScaling.ConfigFile} beside the file: nothing loads it", cure, needed));
        var inside = file.Tensors.Count(info => info.Name.Contains(".default.", StringComparison.Ordinal));
        if (inside > 0) troubles.Add(new(Invariant($"{inside} keys with \".default\", which PEFT has in memory only"), cure, needed));
        if (names is not null) LookAtLayers(names, cure, needed);
        RewritesNames = troubles.Count > before && cure is not null;
    }

    private void LookAtLayers(ModuleNames layers, string? cure, string needed)
    {
        var keys = new ModuleKeys(To, layers);
        var modules = new AdapterFit(file, layers).Matched.Select(item => new ConvertedModule(item.Module, item.Layer)).ToList();
        Add(modules.Where(module => module.IsReshaped).Select(module => module.Source), "factors with other axes than their layer: diffusers refuses them", cure is null ? null : "given the axes of their layers", needed);
        if (FileForms.Of(file) != To || To is WrittenConvention.Legacy or WrittenConvention.Peft) return;
        var other = modules.Where(module => module.Source.Name != Right(module) && module.Source.Name != Flattened(module)).ToList();
        Add(other.Where(IsFirst).Select(module => module.Source), "the prefix of SDXL's first text encoder for the only one: sd-scripts refuses it", cure, needed);
        Add(other.Where(LacksLevel).Select(module => module.Source), "the level text_model left away, which file names keep", cure, needed);
        Add(other.Where(module => !IsFirst(module) && !LacksLevel(module)).Select(module => module.Source), "not as the convention names its layer", cure, needed);

        string Right(ConvertedModule module) => To == WrittenConvention.Kohya ? module.Source.Kind!.KohyaName(keys.Module(module.Layer)) : keys.Module(module.Layer);

        // SDXL's UNet with the names of diffusers, which loaders know as well
        string Flattened(ConvertedModule module) => To == WrittenConvention.Kohya ? $"lora_{module.Layer.Component}_{module.Layer.Path.Replace('.', '_')}" : "";

        bool IsFirst(ConvertedModule module) => module.Source.Name.StartsWith("lora_te1_", StringComparison.Ordinal) && Right(module).StartsWith("lora_te_", StringComparison.Ordinal);

        bool LacksLevel(ConvertedModule module) => !IsFirst(module) && Right(module).Replace("text_model.", "", StringComparison.Ordinal).Replace("text_model_", "", StringComparison.Ordinal) == module.Source.Name;
    }

    private void Add(IEnumerable<FileModule> modules, string what, string? cure, string? remains = null)
    {
        if (modules.Select(module => module.Name).ToList() is { Count: > 0 } found) troubles.Add(new(Invariant($"{found.Count} of {file.Modules.Count} modules: {what}: {AdapterFile.Some(found, MostNames)}"), cure, remains));
    }

    /// <summary>The convention that a file is of, or the one that its mixture is nearest to and that holds all of it.</summary>
    private static WrittenConvention Target(AdapterFile file)
    {
        var forms = file.Modules.Select(FileForms.Of).Distinct().ToList();
        if (FileForms.Of(file) is { } whole) return whole == WrittenConvention.Peft && PeftScaling.TextBeside(file.Files[0]) is null ? WrittenConvention.Diffusers : whole;
        if (forms.Exists(form => form is FileForm.Kohya or FileForm.Lycoris or FileForm.Package2022)) return WrittenConvention.Kohya;
        return file.Modules.All(module => module.Convention == AdapterConvention.AttentionProcessors) ? WrittenConvention.AttnProcs : WrittenConvention.Diffusers;
    }
}
