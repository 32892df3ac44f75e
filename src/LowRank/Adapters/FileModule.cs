using System.Globalization;
using LowRank.Adapters.Formats;
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
        parameters = keys.ToDictionary(item => item.Meaning.Parameter, item => file.Tensors[item.Key]);
        CheckParameters();
        (Down, Up) = (parameters.GetValueOrDefault(AdapterKey.Down), parameters.GetValueOrDefault(AdapterKey.Up));
        CheckFactors();
        Alpha = ReadAlpha() ?? (IsLora ? scaling?.Invoke(this) : null);
    }

    /// <summary>As the file writes it.</summary>
    public string Name { get; }

    /// <summary>As <see cref="ModuleNames"/> knows it.</summary>
    public string Lookup { get; }

    public AdapterConvention Convention { get; }

    public TensorInfo? Down { get; }

    public TensorInfo? Up { get; }

    /// <summary>Has both factors and nothing that changes what they mean.</summary>
    public bool IsLora { get; private set; }

    public int Rank => Down is { Shape: [var rank, ..] } ? (int)rank : 0;

    /// <summary>What the file says; null where it says nothing, and the rank counts (scale 1).</summary>
    public double? Alpha { get; }

    /// <summary>alpha / rank, alpha 0 read as sd-scripts does: as the rank.</summary>
    public double EffectiveAlpha => Alpha is null or 0 ? Rank : Alpha.Value;

    public IEnumerable<string> Keys => parameters.Values.Select(info => info.Name);

    public List<AdapterProblem> Problems { get; } = [];

    public List<string> Warnings { get; } = [];

    /// <summary>Another kind of adapter: its name; null for LoRA.</summary>
    public string? Algorithm { get; private set; }

    /// <summary>A (r, in·kh·kw) or B (out, r), float32, as the file has them; only of a LoRA. The caller owns them.</summary>
    public (Tensor Down, Tensor Up) ReadFactors()
    {
        using var scope = NewDisposeScope();
        var (down, up) = (Read(Down!), Read(Up!));
        return (down.MoveToOuterDisposeScope(), up.MoveToOuterDisposeScope());
        Tensor Read(TensorInfo info) => file.Read(info.Name).to(ScalarType.Float32).flatten(1);
    }

    /// <summary>‖ΔW‖ (Frobenius) at strength 1, without forming ΔW: ‖BA‖² is the sum of BᵀB times AAᵀ, element by element.</summary>
    public double DeltaNorm()
    {
        using var scope = NewDisposeScope();
        var (down, up) = ReadFactors();
        var (a, b) = (down.to(ScalarType.Float64), up.to(ScalarType.Float64));
        var squared = b.t().mm(b).mul_(a.mm(a.t())).sum().item<double>();
        return Math.Abs(EffectiveAlpha / Rank) * Math.Sqrt(Math.Max(0, squared));
    }

    /// <summary>Numbers that are none: "1 NaN in lora_down", or null when all are finite.</summary>
    public string? NotFinite()
    {
        using var scope = NewDisposeScope();
        var found = new List<string>();
        foreach (var info in new[] { Down, Up })
        {
            if (info is null || info.Type is StoredType.F8_E4M3 or StoredType.F8_E5M2) continue;
            var values = file.Read(info.Name).to(ScalarType.Float32);
            var (nan, infinite) = (values.isnan().sum().item<long>(), values.isinf().sum().item<long>());
            if (nan > 0) found.Add(string.Create(CultureInfo.InvariantCulture, $"{nan} NaN in {Word(info)}"));
            if (infinite > 0) found.Add(string.Create(CultureInfo.InvariantCulture, $"{infinite} infinite in {Word(info)}"));
        }
        return found.Count > 0 ? string.Join(", ", found) : null;
    }

    /// <summary>What does not fit the layer, or null.</summary>
    public string? Misfit(LayerShape layer)
    {
        var (inputs, outputs) = (Down!.Shape[1], Up!.Shape[0]);
        if (inputs != layer.Inputs) return string.Create(CultureInfo.InvariantCulture, $"{Word(Down)} has {inputs} input columns, the layer has {layer.Inputs}");
        if (outputs != layer.Outputs) return string.Create(CultureInfo.InvariantCulture, $"{Word(Up)} has {outputs} output rows, the layer has {layer.Outputs}");
        var kernel = Down.Shape.Skip(2).ToArray();
        var wanted = layer.Kernel;
        if (kernel.Length == 0) kernel = wanted.Select(_ => 1L).ToArray();
        if (wanted.Length == 0 && kernel.All(size => size == 1)) return null;
        return kernel.SequenceEqual(wanted) ? null : $"{Word(Down)} has the kernel {Shapes.Show(kernel)}, the layer has {(wanted.Length == 0 ? "none (it is linear)" : Shapes.Show(wanted))}";
    }

    /// <summary>Other kinds of adapters and parameters nobody knows: ignoring either would change the result.</summary>
    private void CheckParameters()
    {
        var others = parameters.Keys.Where(parameter => parameter is not (AdapterKey.Down or AdapterKey.Up or AdapterKey.Alpha)).ToList();
        // (IA)³ keeps its vector under a name that others use too
        var known = others.Select(parameter => (parameter, Name: Algorithms.NameOf(parameter) ?? (parameter == "weight" && others.Contains("on_input") ? "(IA)³" : null))).ToList();
        Algorithm = known.Select(item => item.Name).FirstOrDefault(name => name is not null);
        if (Algorithm is not null) Problems.Add(AdapterProblem.Algorithm(Name, Algorithm, known.Where(item => item.Name is not null).Select(item => item.parameter)));
        var unknown = known.Where(item => item.Name is null).Select(item => item.parameter).ToList();
        if (unknown.Count > 0) Problems.Add(AdapterProblem.UnknownParameters(Name, unknown));
    }

    private void CheckFactors()
    {
        if (Down is null && Up is null)
        {
            if (Algorithm is null && parameters.ContainsKey(AdapterKey.Alpha)) Warnings.Add($"{Name}: alpha without factors; it is ignored");
            return;
        }
        if (Down is null || Up is null) Problems.Add(AdapterProblem.Broken(Name, $"{Word(Down ?? Up!)} without {(Down is null ? WordOf(AdapterKey.Down) : WordOf(AdapterKey.Up))}"));
        else if (Down.Shape.Count is not (2 or 4)) Problems.Add(AdapterProblem.Broken(Name, $"{Word(Down)} has the shape {Shapes.Show(Down.Shape)}; two or four axes are read"));
        else if (Up.Shape.Count is not (2 or 4) || Up.Shape.Skip(2).Any(size => size != 1)) Problems.Add(AdapterProblem.Broken(Name, $"{Word(Up)} has the shape {Shapes.Show(Up.Shape)}; (out, rank) or (out, rank, 1, 1) is read"));
        else if (Down.Shape[0] != Up.Shape[1]) Problems.Add(AdapterProblem.Broken(Name, string.Create(CultureInfo.InvariantCulture, $"rank {Down.Shape[0]} in {Word(Down)}, {Up.Shape[1]} in {Word(Up)}")));
        else if (Down.Shape[0] == 0) Problems.Add(AdapterProblem.Broken(Name, "rank 0"));
        else IsLora = Algorithm is null;
    }

    private double? ReadAlpha()
    {
        if (!parameters.TryGetValue(AdapterKey.Alpha, out var info)) return null;
        var count = info.Shape.Aggregate(1L, (a, b) => a * b);
        if (count != 1)
        {
            Problems.Add(AdapterProblem.Broken(Name, string.Create(CultureInfo.InvariantCulture, $"alpha has {count} elements, must be a scalar or one element")));
            return null;
        }
        using var scope = NewDisposeScope();
        var alpha = file.Read(info.Name).to(ScalarType.Float64).reshape(1)[0].item<double>();
        if (!double.IsFinite(alpha)) Problems.Add(AdapterProblem.NotFinite(Name, "alpha"));
        else if (alpha == 0 && (Down is not null || Up is not null)) Warnings.Add($"{Name}: alpha 0; read as alpha = rank, as sd-scripts does (others multiply by 0)");
        return alpha;
    }

    /// <summary>How the file calls a factor: lora_down, lora_A, ….</summary>
    private string Word(TensorInfo info) => WordOf(info.Name == parameters.GetValueOrDefault(AdapterKey.Down)?.Name ? AdapterKey.Down : AdapterKey.Up);

    private string WordOf(string factor) => Convention switch
    {
        AdapterConvention.Package2022 => factor,
        AdapterConvention.Peft => factor == AdapterKey.Down ? "lora_A" : "lora_B",
        AdapterConvention.Diffusers or AdapterConvention.AttentionProcessors => "lora." + factor,
        _ => "lora_" + factor,
    };
}
