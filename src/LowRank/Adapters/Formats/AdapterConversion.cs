using System.Globalization;
using System.Text;
using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Adapters.Formats;

/// <summary>
/// An adapter written in another convention, with the same change of every weight. A file that is of the convention already passes tensor by tensor as it is.
/// Never two generations of keys in one file: readers judge a file by its first key.
/// </summary>
/// <param name="file">Open; stays the caller's.</param>
/// <param name="to">The convention.</param>
/// <param name="type">F16, BF16 or F32; null: tensors keep theirs.</param>
/// <param name="stripCaptions">Whether the metadata loses what tells of the pictures.</param>
internal sealed class AdapterConversion(AdapterFile file, WrittenConvention to, StoredType? type, bool stripCaptions = false)
{
    private const int MostNames = 3;

    private readonly List<string> changes = [];
    private readonly RoundedTensors rounding = new();

    /// <summary>Converts. Tensors live in the caller's scope.</summary>
    /// <param name="names">The layers of the model it is for; asked for only where modules get other names.</param>
    /// <param name="rename">Whether modules of a file that is of the convention already get the names that its own trainer writes.</param>
    /// <param name="lists">Package of 2022: bare lists instead of names.</param>
    /// <exception cref="CheckpointException">The file has problems or does not fit the model, or holds what the convention cannot hold: it is named.</exception>
    public ConvertedAdapter Run(Func<ModuleNames> names, bool rename = false, bool lists = false)
    {
        if (!rename && PassesThrough(lists)) return Passed();
        var layers = names();
        var fit = new AdapterFit(file, layers);
        changes.AddRange(fit.Require(new AdapterLoadOptions { EmbeddingsAreUsed = true }));
        var modules = fit.Matched.Select(item => new ConvertedModule(item.Module, item.Layer)).ToList();
        var orders = to == WrittenConvention.Legacy ? new Package2022Order(layers, modules.Select(module => module.Layer)) : null;
        var keys = new ModuleKeys(to, layers);
        RefuseWhatHasNoPlace(modules, layers, module => orders is null ? keys.Lacks(module.Layer) : orders.Lacks(module.Layer));
        var (held, beside) = new ConvertedEmbeddings(file, to).Split();
        var parts = to switch
        {
            WrittenConvention.Peft => [.. modules.GroupBy(module => module.Layer.Component).Select(group => PeftPart(group.Key, [.. group], keys))],
            WrittenConvention.Legacy => orders!.Parts(modules, Factors, lists, changes),
            _ => new List<ConvertedPart> { new(null, [.. modules.SelectMany(module => Parameters(module, keys))], new Dictionary<string, string>()) },
        };
        if (held.Count > 0) parts = ConvertedEmbeddings.Add(parts, file, held, lists, Stored);
        SayWhatChanged(modules, held, beside);
        RefuseNotFinite(parts);
        var facts = new ConvertedMetadata(file, to, layers, modules);
        return new ConvertedAdapter([.. parts.Select(part => part with { Metadata = Described(facts, part) })], beside, [.. changes.Distinct()]);
    }

    private Dictionary<string, string> Described(ConvertedMetadata facts, ConvertedPart part)
    {
        var metadata = facts.For(part);
        if (Stripped(metadata)) ConvertedMetadata.HashAnew(metadata, part.Tensors);
        return metadata;
    }

    private bool Stripped(Dictionary<string, string> metadata)
    {
        if (!stripCaptions || ConvertedMetadata.StripCaptions(metadata) is not { Count: > 0 } gone) return false;
        changes.Add($"left out of the metadata: {string.Join(", ", gone)}");
        return true;
    }

    /// <summary>Whether nothing but the type of the numbers may change.</summary>
    private bool PassesThrough(bool lists) => FileForms.Of(file) == to && file.Problems.Count == 0 && file.IsList == (to == WrittenConvention.Legacy && lists)
        && (to != WrittenConvention.Peft || PeftScaling.TextBeside(file.Path) is not null)
        && !file.Modules.Any(module => LacksLevel(module.Name));

    /// <summary>The file as it is, in the wanted type.</summary>
    private ConvertedAdapter Passed()
    {
        var alphas = file.Modules.Select(module => module[AdapterKey.Alpha]?.Name).OfType<string>().ToHashSet();
        var tensors = file.Tensors.Select(info => KeyValuePair.Create(info.Name, Stored(file.Read(info.Name), info.Type.ToScalarType(), info.Name, alphas.Contains(info.Name)))).ToList();
        changes.AddRange(file.Warnings);
        AddRounding();
        var metadata = file.Metadata.ToDictionary();
        var other = type is not null && tensors.Exists(item => item.Value.dtype != file.Tensors.First(info => info.Name == item.Key).Type.ToScalarType());
        if (Stripped(metadata) || other) ConvertedMetadata.HashAnew(metadata, tensors);
        var part = new ConvertedPart(null, tensors, metadata, to == WrittenConvention.Peft ? PeftScaling.TextBeside(file.Path) : null);
        RefuseNotFinite([part]);
        return new ConvertedAdapter([part], [], changes);
    }

    private IEnumerable<KeyValuePair<string, Tensor>> Parameters(ConvertedModule module, ModuleKeys keys) =>
        to is WrittenConvention.Kohya or WrittenConvention.Lycoris
            ? module.Flat().Select(item => Named(module, to == WrittenConvention.Kohya ? module.Source.Kind!.KohyaName(keys.Of(module.Layer, item.Parameter)) : keys.Of(module.Layer, item.Parameter), item.Parameter, item.Values))
            : Factors(module, parameter => keys.Of(module.Layer, parameter));

    /// <summary>Down, up and lengths of a module by their keys; the scale is folded in unless it is told elsewhere.</summary>
    private IEnumerable<KeyValuePair<string, Tensor>> Factors(ConvertedModule module, Func<string, string> key) =>
        module.Factors(fold: to != WrittenConvention.Peft).Select(item => Named(module, key(item.Parameter), item.Parameter, item.Values));

    private KeyValuePair<string, Tensor> Named(ConvertedModule module, string key, string parameter, Tensor values) =>
        KeyValuePair.Create(key, Stored(values, parameter == AdapterKey.Alpha ? values.dtype : module.StoredAs(Word(parameter)), key, parameter == AdapterKey.Alpha));

    private static string Word(string parameter) => parameter switch { "lora_down.weight" => AdapterKey.Down, "lora_up.weight" => AdapterKey.Up, _ => parameter };

    /// <summary>In the type that is asked for, else in the file's own; an alpha that the type does not hold exactly stays float32.</summary>
    private Tensor Stored(Tensor values, ScalarType own, string key, bool isAlpha = false)
    {
        var wanted = type?.ToScalarType() ?? own;
        if (isAlpha && values.numel() == 1 && values.is_floating_point() && !ConvertedModule.Holds(values, wanted)) wanted = ScalarType.Float32;
        return rounding.Store(values, wanted, key);
    }

    private ConvertedPart PeftPart(string component, List<ConvertedModule> modules, ModuleKeys keys) =>
        new(component, [.. modules.SelectMany(module => Parameters(module, keys))], new Dictionary<string, string>(), PeftConfig.Of(modules));

    private static bool LacksLevel(string name) => name.StartsWith("text_encoder.encoder.", StringComparison.Ordinal) || name.StartsWith("text_encoder_2.encoder.", StringComparison.Ordinal)
        || name.StartsWith("lora_te_encoder_", StringComparison.Ordinal) || name.StartsWith("lora_te1_encoder_", StringComparison.Ordinal) || name.StartsWith("lora_te2_encoder_", StringComparison.Ordinal);

    private void RefuseWhatHasNoPlace(List<ConvertedModule> modules, ModuleNames names, Func<ConvertedModule, string?> lacks)
    {
        var flat = to is WrittenConvention.Kohya or WrittenConvention.Lycoris;
        var mixed = to is WrittenConvention.Peft or WrittenConvention.Diffusers ? modules.GroupBy(module => module.Layer.Component).Where(group => group.Any(module => module.IsDora)).Select(group => group.Key).ToHashSet() : [];
        var refused = modules.Select(module => (module.Source.Name, Why: Why(module))).Where(item => item.Why is not null).ToList();
        if (refused.Count == 0) return;
        var name = Path.GetFileName(file.Path);
        var text = new StringBuilder(Invariant($"the adapter is not converted to {to.InWords()} keys: {refused.Count} of {modules.Count} modules have no place there"));
        text.Append(CultureInfo.InvariantCulture, $"\n  file    {name} ({file.Looks()})");
        foreach (var (group, i) in refused.GroupBy(item => item.Why!, item => item.Name).Select((group, i) => (group, i))) text.Append(CultureInfo.InvariantCulture, $"\n  {(i == 0 ? "modules" : ""),-7} {group.Key}: {AdapterFile.Some([.. group], MostNames)}");
        text.Append("\n  try     kohya, which holds every kind that is read, or a convention of docs/adapter-formats.md that holds these");
        throw new CheckpointException(text.ToString());

        string? Why(ConvertedModule module) => (flat, module) switch
        {
            (true, { IsFlat: false, HasFactors: false }) when module.Source.Kind!.Kind is not (AdapterKind.Loha or AdapterKind.Lokr) => $"{module.Source.Kind.Name} as PEFT writes it, which has other parameters there",
            _ when to == WrittenConvention.Lycoris && module.Source.Kind!.KohyaName(names.Kohya(module.Layer.Component, module.Layer.Path)) != names.Kohya(module.Layer.Component, module.Layer.Path) => $"{module.Source.Kind.Name} of sd-scripts, which its name alone tells from LyCORIS' own",
            (false, { IsLora: false }) => module.Source.Kind!.Name,
            (false, { IsDora: true }) when to is not (WrittenConvention.Peft or WrittenConvention.Diffusers) => "DoRA",
            (false, { IsDora: true, IsByInput: true }) => "DoRA with a length for each input, which only LyCORIS has",
            (false, { IsDora: false }) when mixed.Contains(module.Layer.Component) => "LoRA beside DoRA: there a part of the model is all one or all the other",
            _ => lacks(module),
        };
    }

    private void SayWhatChanged(List<ConvertedModule> modules, IReadOnlyList<AdapterEmbedding> held, IReadOnlyList<AdapterEmbedding> beside)
    {
        changes.Insert(0, Invariant($"{modules.Count} modules renamed: {string.Join(" and ", file.Conventions.Select(convention => convention.InWords()))} to {to.InWords()}"));
        var loras = modules.Where(module => module.IsLora).ToList();
        var flat = to is WrittenConvention.Kohya or WrittenConvention.Lycoris;
        if (!flat && to != WrittenConvention.Peft) Add(loras.Where(module => module.Source.Scale != 1), found => $"scale folded into up of {found.Count} modules: {Range(found.Select(module => module.Source.Scale))}");
        if (to == WrittenConvention.Peft) Add(loras, found => $"rank and alpha of {found.Count} modules told in {PeftScaling.ConfigFile}");
        if (flat) Add(modules.Where(module => module.Source.Alpha is null && module.Source.Kind!.HasRank(module.Source)), found => $"alpha written for {found.Count} modules that had none: their rank, scale 1");
        if (flat) Add(modules.Where(module => module.Source is { Alpha: not null } && module.Source[AdapterKey.Alpha] is null), found => $"alpha of {found.Count} modules written beside their factors; it stood in PEFT's configuration");
        Add(modules.Where(module => module.Source.Alpha == 0), found => $"alpha 0 of {found.Count} modules read as their rank, as sd-scripts does");
        if (!flat) Add(loras.Where(module => module.Source[Kinds.LoraKind.Mid] is not null), found => $"Tucker core of {found.Count} modules folded into down");
        Add(loras.Where(module => module.IsReshaped), found => $"factors of {found.Count} modules given the axes of their layers");
        AddRounding();
        if (held.Count > 0) changes.Add($"learned tokens kept: {Names(held)}");
        if (beside.Count > 0) changes.Add($"learned tokens written beside, for want of a place inside: {Names(beside)}");

        void Add(IEnumerable<ConvertedModule> modules, Func<List<ConvertedModule>, FormattableString> line)
        {
            if (modules.ToList() is { Count: > 0 } found) changes.Add(Invariant(line(found)));
        }

        static string Names(IEnumerable<AdapterEmbedding> tokens) => AdapterFile.Some([.. tokens.Select(token => token.Name).Distinct()]);
    }

    private void AddRounding()
    {
        if (rounding.Report() is { } report) changes.Add(report);
    }

    private void RefuseNotFinite(IEnumerable<ConvertedPart> parts)
    {
        using var scope = NewDisposeScope();
        var tensors = parts.SelectMany(part => part.Tensors).Where(item => item.Value.is_floating_point()).ToList();
        var bad = tensors.Where(item => !item.Value.isfinite().all().item<bool>()).Select(item => item.Key).ToList();
        if (bad.Count == 0) return;
        var advice = type == StoredType.F16 ? "F16 holds numbers up to 65504: choose bf16 or fp32, or " : "";
        throw new CheckpointException(Invariant($"the adapter is not converted: {bad.Count} of {tensors.Count} tensors are not finite{(type is null ? "" : $" as {type}")}: {AdapterFile.Some(bad)}; in {file.Path}; {advice}see `lora inspect`"));
    }

    private static string Range(IEnumerable<double> values) => values.Distinct().Order().ToList() switch
    {
        [var one] => Invariant($"{one:G6}"),
        { Count: <= 4 } few => string.Join(", ", few.Select(value => Invariant($"{value:G6}"))),
        var many => Invariant($"{many[0]:G6} to {many[^1]:G6}"),
    };
}
