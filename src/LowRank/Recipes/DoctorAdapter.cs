using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// Says what is wrong with an adapter file and repairs what can be repaired without guessing: alphas, names, axes, mixed conventions, hashes; modules that are
/// not finite on request. The change of every weight that stays is the same.
/// </summary>
public static class DoctorAdapter
{
    /// <summary>Looks, and writes a repaired file where that is asked for and something can be repaired. The file is never changed in place without a copy of it.</summary>
    /// <exception cref="OptionsException">The output or the copy is there already or has the wrong ending, or is asked for without repairing.</exception>
    /// <exception cref="CheckpointException">There is no adapter, the named model is none, or leaving out what is not finite leaves nothing.</exception>
    public static DoctorReport Run(DoctorOptions options)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        Repair? repair = null;
        DoctorReport report;
        using (var file = AdapterFile.Open(options.File))
        {
            var (output, backup) = Places(options, file);
            using var model = Model(file, options.Model);
            var diagnosis = new AdapterDiagnosis(file, model?.Names, options.DropNotFinite).Run();
            if (output is not null && diagnosis.Troubles.Any(trouble => trouble.Cure is not null)) repair = Repaired(file, diagnosis, model?.Names, output, backup);
            report = new DoctorReport { File = options.File, Looks = file.Looks(), Base = model?.Title, Troubles = diagnosis.Troubles, Repaired = repair?.Output, Backup = repair?.Backup };
        }
        // the file is closed: it may be the one that is replaced
        if (repair?.Backup is not null) File.Copy(repair.Output, repair.Backup);
        if (repair is not null) SafetensorsWriter.Write(repair.Output, repair.Tensors, repair.Metadata);
        return report;
    }

    /// <summary>What is written, and where.</summary>
    private sealed record Repair(string Output, string? Backup, IReadOnlyList<KeyValuePair<string, Tensor>> Tensors, IReadOnlyDictionary<string, string> Metadata);

    /// <summary>The model that the file fits, as far as it is in order; null for none that is known.</summary>
    private static AdapterBase? Model(AdapterFile file, string? name)
    {
        if (name is not null) return AdapterBase.Find(file, name);
        try
        {
            return AdapterBase.Find(file, model: null);
        }
        catch (CheckpointException)
        {
            return null;   // which the report says
        }
    }

    private static (string? Output, string? Backup) Places(DoctorOptions options, AdapterFile file)
    {
        if (!options.Fix) return options.Output is null && !options.DropNotFinite ? ((string?)null, (string?)null) : throw Refuse("modules are left out of a repaired file only, and none is asked for", options.File, "--fix");
        if (file.Files.Count > 1) throw Refuse("the parts of a PEFT folder are repaired one by one", file.Path, $"--fix with each: {string.Join(", ", file.Files.Select(path => Path.GetFileName(Path.GetDirectoryName(path))))}");
        if (file.IsList) throw Refuse("a list of the 2022 package has neither names nor alphas that could be repaired", file.Path, "lora convert, to any convention");
        if (options.Output is not { } output)
        {
            if (!file.Files[0].EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)) throw Refuse("only a .safetensors file is repaired in its own place", file.Path, "name an output: --fix OUT.safetensors");
            return File.Exists(file.Files[0] + ".bak") ? throw Refuse("the file would be kept as it is under a name that is there already", file.Files[0] + ".bak", "move it away, or name an output: --fix OUT.safetensors") : (file.Files[0], file.Files[0] + ".bak");
        }
        if (PeftScaling.TextBeside(file.Files[0]) is not null) throw Refuse("a PEFT adapter belongs beside its configuration", output, "leave the output away: the file is repaired in its own place and kept as FILE.bak");
        if (!output.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)) throw Refuse("the output must end with .safetensors", output, "give it that ending");
        if (file.Files.Any(path => Path.GetFullPath(path) == Path.GetFullPath(output))) throw Refuse("the output would replace the input", output, "leave the output away: the file is then kept as FILE.bak");
        return File.Exists(output) ? throw Refuse("the output is there already", output, "name another file") : (output, null);
    }

    private static Repair Repaired(AdapterFile file, AdapterDiagnosis diagnosis, ModuleNames? names, string output, string? backup)
    {
        if (file.Modules.Count == diagnosis.Dropped.Count) throw new CheckpointException($"nothing is written: no module is left of {file.Path}; take an earlier save of the adapter");
        var (tensors, metadata) = (Tensors(file, diagnosis), file.Metadata.ToDictionary());
        if (diagnosis.RewritesNames) (tensors, metadata) = Rewritten(file, diagnosis, names!, tensors, metadata);
        ConvertedMetadata.HashAnew(metadata, tensors);
        return new Repair(output, backup, tensors, metadata);
    }

    /// <summary>Every tensor that stays as it is stored, with the alphas put right.</summary>
    private static List<KeyValuePair<string, Tensor>> Tensors(AdapterFile file, AdapterDiagnosis diagnosis)
    {
        var gone = diagnosis.Dropped.SelectMany(module => module.Keys).ToHashSet();
        var tensors = file.Tensors.Where(info => !gone.Contains(info.Name)).ToDictionary(info => info.Name, info => file.Read(info.Name));
        foreach (var module in file.Modules.Where(module => module.IsUsable && !diagnosis.Dropped.Contains(module)))
        {
            var key = module[AdapterKey.Alpha]?.Name ?? $"{module.Name}.{AdapterKey.Alpha}";
            if (AdapterDiagnosis.LacksAlpha(module) || AdapterDiagnosis.HasZeroAlpha(module)) tensors[key] = tensor((double)module.Rank, ScalarType.Float64).to(TypeOf(module));
            else if (AdapterDiagnosis.HasAxis(module)) tensors[key] = tensors[key].view([]);
        }
        return [.. tensors];

        static ScalarType TypeOf(FileModule module) => module[module.Parameters.First(parameter => parameter != AdapterKey.Alpha)]!.Type.ToScalarType();
    }

    /// <summary>With the names and axes of the model, by way of a file that only this process sees.</summary>
    private static (List<KeyValuePair<string, Tensor>>, Dictionary<string, string>) Rewritten(AdapterFile file, AdapterDiagnosis diagnosis, ModuleNames names, List<KeyValuePair<string, Tensor>> tensors, Dictionary<string, string> metadata)
    {
        var folder = Directory.CreateTempSubdirectory("lowrank-doctor-").FullName;
        try
        {
            var path = Path.Combine(folder, Path.GetFileName(file.Files[0]));
            SafetensorsWriter.Write(path, tensors, metadata);
            using var repaired = AdapterFile.Open(path);
            var part = new AdapterConversion(repaired, diagnosis.To, null).Run(() => names, rename: true).Parts.Single();
            return ([.. part.Tensors], part.Metadata.ToDictionary());
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static OptionsException Refuse(string what, string path, string advice) => new($"{what}: {path}\n  try     {advice}");
}
