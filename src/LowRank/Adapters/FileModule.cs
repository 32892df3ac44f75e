using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Adapters.Kinds;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>One module of an adapter file: its factors and alpha, checked against each other but not yet against a model.</summary>
internal sealed class FileModule
{
    private readonly ITensorFile file;
    private readonly Dictionary<string, TensorInfo> parameters;

    /// <param name="file">Where the tensors are; outlives the module.</param>
    /// <param name="keys">The module's keys, all of one convention.</param>
    /// <param name="scaling">What a PEFT configuration says of scales, by the name of the module; null for none.</param>
    public FileModule(ITensorFile file, IReadOnlyCollection<(string Key, AdapterKey Meaning)> keys, Func<FileModule, double?>? scaling)
    {
        this.file = file;
        var meaning = keys.First().Meaning;
        (Name, Lookup, Convention) = (meaning.Module, meaning.Lookup, meaning.Convention);
        var byParameter = keys.GroupBy(item => item.Meaning.Parameter, item => item.Key).ToList();
        parameters = byParameter.ToDictionary(group => group.Key, group => file.Tensors[group.First()]);
        Kind = LayerKind.Of(this);
        CheckParameters();
        CheckFactors();
        foreach (var twice in byParameter.Where(group => group.Count() > 1)) Break($"several keys for {Word(twice.Key)}: {string.Join(", ", twice)}");
        foreach (var (parameter, info) in parameters.Where(item => item.Key is not (AdapterKey.Alpha or Ia3Kind.OnInput) && Kind?.Knows(item.Key) == true && IsInteger(item.Value.Type))) Break($"{Word(parameter)} is {info.Type}: integers without a scale are no factors");
        Rank = IsUsable ? Kind!.RankOf(this) : 0;
        Alpha = ReadAlpha() ?? (IsUsable && Kind!.IsInPeft ? scaling?.Invoke(this) : null);
    }

    /// <summary>As the file writes it.</summary>
    public string Name { get; }

    /// <summary>As <see cref="ModuleNames"/> knows it.</summary>
    public string Lookup { get; }

    public AdapterConvention Convention { get; }

    /// <summary>The path of its file.</summary>
    public string File => file.Path;

    /// <summary>What its factors are; null for a module without factors of a kind that is read.</summary>
    public LayerKind? Kind { get; }

    /// <summary>Has all factors of its kind and nothing that changes what they mean.</summary>
    public bool IsUsable { get; private set; }

    /// <summary>Of a usable module.</summary>
    public int Rank { get; }

    /// <summary>Inputs of the layer that a usable module is for.</summary>
    public long Inputs => Kind!.InputsOf(this);

    /// <summary>What the file says; null where it says nothing, and the rank counts (scale 1).</summary>
    public double? Alpha { get; }

    /// <summary>Numerator of alpha / rank, alpha 0 read as sd-scripts does: as the rank. Of OFT and BOFT their limit, 0 where the file says none.</summary>
    public double EffectiveAlpha => Kind?.AlphaIsLimit == true ? Alpha ?? 0 : Alpha is null or 0 ? Rank : Alpha.Value;

    /// <summary>alpha / rank, or what its kind has in its place.</summary>
    public double Scale => Kind!.ScaleOf(this);

    public IEnumerable<string> Keys => parameters.Values.Select(info => info.Name);

    /// <summary>What it holds, as <see cref="AdapterKey"/> calls it.</summary>
    public IEnumerable<string> Parameters => parameters.Keys;

    /// <summary>Where a parameter lies in the file; null where it has none of the name.</summary>
    public TensorInfo? this[string parameter] => parameters.GetValueOrDefault(parameter);

    /// <summary>A parameter's values in float32. The caller owns them.</summary>
    public Tensor Read(string parameter) => file.Read(parameters[parameter].Name).to(ScalarType.Float32);

    /// <summary>A parameter as it is stored. The caller owns it.</summary>
    public Tensor ReadStored(string parameter) => file.Read(parameters[parameter].Name);

    public List<AdapterProblem> Problems { get; } = [];

    public List<string> Warnings { get; } = [];

    /// <summary>A kind of adapter that is not read: its name; null for none.</summary>
    public string? Algorithm { get; private set; }

    /// <summary>The factors of a usable module in float32, with as many elements as its layer's. The caller owns them.</summary>
    public IReadOnlyDictionary<string, Tensor> ReadFactors()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        return Kind!.Read(this).ToDictionary(item => item.Key, item => item.Value.contiguous().MoveToOuterDisposeScope());
    }

    /// <summary>Where a usable module sits on a layer that it fits.</summary>
    public AdapterTarget TargetOn(ModelLayer layer) => new(layer.Component, layer.Path, layer.Module, Rank, EffectiveAlpha, Kind!, Kind!.Factors(this, layer.Shape));

    /// <summary>
    /// The adapter's layer for one layer of a model that the module fits, not attached, over tensors of its own: for work that takes one module after the other.
    /// The model may be an outline: <see cref="AdapterLayer.DeltaOn"/> is given the weight. Its tensors belong to the caller's dispose scope.
    /// </summary>
    public AdapterLayer LayerOn(ModelLayer layer)
    {
        var target = TargetOn(layer);
        var values = ReadFactors();
        return target.Kind.Make(target, target.Factors.ToDictionary(factor => factor.Name, factor => values[factor.Name].view(factor.Shape)));
    }

    /// <summary>‖ΔW‖ (Frobenius) at strength 1; of kinds whose change depends on the base (DoRA, (IA)³, OFT, BOFT, GLoRA), the length of what does not.</summary>
    public double DeltaNorm()
    {
        using var scope = NewDisposeScope();
        var factors = ReadFactors();
        return Kind!.Norm(factors, Kind.HasRank(this) ? Scale : 1).item<double>();   // whole factors are read with their scale
    }

    /// <summary>Numbers that are none: "1 NaN in lora_down", or null when all are finite.</summary>
    public string? NotFinite()
    {
        using var scope = NewDisposeScope();
        var found = new List<string>();
        foreach (var (parameter, info) in parameters)
        {
            if (parameter == AdapterKey.Alpha || info.Type is StoredType.F8_E4M3 or StoredType.F8_E5M2) continue;
            var values = Read(parameter);
            var (nan, infinite) = (values.isnan().sum().item<long>(), values.isinf().sum().item<long>());
            if (nan > 0) found.Add(string.Create(CultureInfo.InvariantCulture, $"{nan} NaN in {Word(parameter)}"));
            if (infinite > 0) found.Add(string.Create(CultureInfo.InvariantCulture, $"{infinite} infinite in {Word(parameter)}"));
        }
        return found.Count > 0 ? string.Join(", ", found) : null;
    }

    /// <summary>What does not fit the layer, or null.</summary>
    public string? Misfit(LayerShape layer) => layer.IsNorm && !Kind!.FitsNorms ? $"{Kind.Name} is for linear layers and convolutions, the layer is a norm" : Kind!.Misfit(this, layer);

    /// <summary>Other kinds of adapters and parameters nobody knows: ignoring either would change the result.</summary>
    private void CheckParameters()
    {
        var others = parameters.Keys.Where(parameter => parameter != AdapterKey.Alpha && Kind?.Knows(parameter) != true).ToList();
        var known = others.Select(parameter => (parameter, Name: Algorithms.NameOf(parameter))).ToList();
        Algorithm = known.Select(item => item.Name).FirstOrDefault(name => name is not null);
        if (Algorithm is not null) Problems.Add(AdapterProblem.Algorithm(Name, Kind is null ? Algorithm : $"{Algorithm} on {Kind.Name}", known.Where(item => item.Name is not null).Select(item => item.parameter)));
        var unknown = known.Where(item => item.Name is null).Select(item => item.parameter).ToList();
        if (unknown.Count > 0) Problems.Add(AdapterProblem.UnknownParameters(Name, unknown));
    }

    private void CheckFactors()
    {
        if (Kind is null)
        {
            if (Algorithm is null && parameters.ContainsKey(AdapterKey.Alpha)) Warnings.Add($"{Name}: alpha without factors; it is ignored");
        }
        else if (Kind.Fault(this) is { } fault) Problems.Add(AdapterProblem.Broken(Name, fault));
        else IsUsable = Algorithm is null;
    }

    private void Break(string what)
    {
        Problems.Add(AdapterProblem.Broken(Name, what));
        IsUsable = false;
    }

    private static bool IsInteger(StoredType type) => type is StoredType.I64 or StoredType.I32 or StoredType.I16 or StoredType.I8 or StoredType.U8 or StoredType.BOOL;

    private double? ReadAlpha()
    {
        if (!parameters.TryGetValue(AdapterKey.Alpha, out var info)) return null;
        var count = info.Shape.Aggregate(1L, (a, b) => a * b);
        if (count != 1)
        {
            Problems.Add(AdapterProblem.Broken(Name, string.Create(CultureInfo.InvariantCulture, $"alpha has {count} elements, must be a scalar or one element")));
            return null;
        }
        var alpha = file.ReadNumber(info);
        if (!double.IsFinite(alpha)) Problems.Add(AdapterProblem.NotFinite(Name, "alpha"));
        else if (alpha == 0 && Kind is { AlphaIsLimit: false }) Warnings.Add($"{Name}: alpha 0; read as alpha = rank, as sd-scripts does (others multiply by 0)");
        return alpha;
    }

    /// <summary>How the file calls a parameter: lora_down, lora_A, hada_w1_a, ….</summary>
    public string Word(string parameter) => parameter switch
    {
        AdapterKey.Down or AdapterKey.Up => Convention switch
        {
            AdapterConvention.Package2022 => parameter,
            AdapterConvention.Peft => parameter == AdapterKey.Down ? "lora_A" : "lora_B",
            AdapterConvention.Diffusers or AdapterConvention.AttentionProcessors => "lora." + parameter,
            _ => "lora_" + parameter,
        },
        _ => parameter.EndsWith(".weight", StringComparison.Ordinal) ? parameter[..^".weight".Length] : parameter,
    };
}
