using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>LoHa of one layer (arXiv:2108.06098, proposition 1): ΔW = scale · (w1_a · w1_b) ∘ (w2_a · w2_b), element by element.</summary>
internal sealed class LohaLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : AdapterLayer(target, factors)
{
    private protected override Tensor WeightDelta(Tensor weight, double strength) => LohaKind.Weight(Factors, ScalarType.Float32).MultiplyInPlace(Scale * strength);

    private protected override Tensor Branch(Tensor x, Tensor y, double strength, LayerDropout? dropout) =>
        Apply(x, LohaKind.Weight(Factors, x.dtype).Times(Scale * strength));
}

/// <summary>LoHa, with a Tucker core in files.</summary>
internal sealed class LohaKind : LayerKind
{
    private static readonly string[] Parts = ["w1_a", "w1_b", "w2_a", "w2_b"];

    public override AdapterKind? Kind => AdapterKind.Loha;

    public override string Name => "LoHa";

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("lycoris.kohya", new Dictionary<string, string> { ["algo"] = "loha" });

    /// <summary>The product without its scale: (out, in·kh·kw).</summary>
    public static Tensor Weight(IReadOnlyDictionary<string, Tensor> factors, ScalarType type)
    {
        Tensor Part(string name) => factors[name].to(type);
        return Part("w1_a").mm(Part("w1_b")).mul(Part("w2_a").mm(Part("w2_b")));
    }

    public override IReadOnlyList<Factor> Factors(LayerShape shape, int rank, AdapterOptions options) => Factors(shape, rank);

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new LohaLayer(target, factors);

    /// <summary>As LyCORIS starts (lycoris/modules/loha.py): deviations 0.1, 1 and 1, and w2_a zero.</summary>
    public override void Start(AdapterLayer layer, AdapterOptions options, Generator init)
    {
        Normal(layer.Factors["w1_b"], 1, init);
        Normal(layer.Factors["w1_a"], 0.1, init);
        Normal(layer.Factors["w2_b"], 1, init);
    }

    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale) => Weight(factors, ScalarType.Float64).norm().MultiplyInPlace(Math.Abs(scale));

    public override bool Owns(FileModule module) => module.Parameters.Any(parameter => parameter.StartsWith("hada_", StringComparison.Ordinal));

    public override bool Knows(string parameter) => parameter is "alpha" or "hada_t1" or "hada_t2" || Array.Exists(Parts, part => parameter == "hada_" + part);

    public override string? Fault(FileModule module)
    {
        var there = Parts.Select(part => "hada_" + part).ToLookup(name => module[name] is not null);
        if (there[false].Any()) return $"{string.Join(", ", module.Parameters.Where(parameter => parameter != "alpha"))} without {string.Join(", ", there[false])}";
        if ((module["hada_t1"] is null) != (module["hada_t2"] is null)) return module["hada_t1"] is null ? "hada_t2 without hada_t1" : "hada_t1 without hada_t2";
        foreach (var number in new[] { "1", "2" })
        {
            var (a, b, core) = (module[$"hada_w{number}_a"]!.Shape, module[$"hada_w{number}_b"]!.Shape, module[$"hada_t{number}"]?.Shape);
            var inner = core is null ? a[^1] : a[0];
            if (a.Count != 2 || b.Count != 2 || b[0] != inner || inner == 0 || (core is not null && !(core.Count == 4 && core[0] == inner && core[1] == inner)))
            {
                return $"hada_w{number}_a {Shapes.Show(a)} and hada_w{number}_b {Shapes.Show(b)}{(core is null ? "" : $" around hada_t{number} {Shapes.Show(core)}")} do not fit each other";
            }
        }
        var (first, second) = (RankOf(module, "1"), RankOf(module, "2"));
        if (first != second) return string.Create(CultureInfo.InvariantCulture, $"rank {first} in hada_w1_b, {second} in hada_w2_b");
        return Size(module, "1") == Size(module, "2") ? null : string.Create(CultureInfo.InvariantCulture, $"hada_w1 makes {Size(module, "1")}, hada_w2 {Size(module, "2")} (outputs, columns)");
    }

    public override int RankOf(FileModule module) => RankOf(module, "1");

    public override long InputsOf(FileModule module) => module["hada_w1_b"]!.Shape[1];

    public override string? Misfit(FileModule module, LayerShape layer)
    {
        var (outputs, columns) = Size(module, "1");
        var wanted = layer.Inputs * layer.Kernel.Aggregate(1L, (a, b) => a * b);
        if (columns != wanted) return string.Create(CultureInfo.InvariantCulture, $"hada_w1_b has {columns} columns, the layer has {wanted}");
        return outputs == layer.Outputs ? null : string.Create(CultureInfo.InvariantCulture, $"hada_w1_a has {outputs} output rows, the layer has {layer.Outputs}");
    }

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape) => Factors(shape, module.Rank);

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module)
    {
        var factors = new Dictionary<string, Tensor>();
        foreach (var number in new[] { "1", "2" })
        {
            var (a, b) = (module.Read($"hada_w{number}_a"), module.Read($"hada_w{number}_b"));
            // with a core, a stands on its side (LyCORIS rebuild_tucker: "i j ..., i p, j r -> p r ...")
            var core = module[$"hada_t{number}"] is null ? null : module.Read($"hada_t{number}");
            factors[$"w{number}_a"] = core is null ? a : a.t();
            factors[$"w{number}_b"] = core is null ? b : Fold(core, b);
        }
        return factors;
    }

    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer) =>
        Parts.Select(part => ("hada_" + part, layer.Factors[part])).Append(Alpha(layer.Alpha));

    public override IEnumerable<(string Parameter, Tensor Tensor)> Peft(AdapterLayer layer) =>
        Parts.Select(part => ("hada_" + part, part == "w1_a" ? layer.Factors[part].Times(layer.Scale) : layer.Factors[part]));

    private static IReadOnlyList<Factor> Factors(LayerShape shape, int rank)
    {
        var columns = shape.Inputs * shape.Kernel.Aggregate(1L, (a, b) => a * b);
        return [new("w1_a", shape.Outputs, rank), new("w1_b", rank, columns), new("w2_a", shape.Outputs, rank), new("w2_b", rank, columns)];
    }

    private static int RankOf(FileModule module, string number) => (int)module[$"hada_w{number}_b"]!.Shape[0];

    private static (long Outputs, long Columns) Size(FileModule module, string number)
    {
        var (a, b, core) = (module[$"hada_w{number}_a"]!.Shape, module[$"hada_w{number}_b"]!.Shape, module[$"hada_t{number}"]?.Shape);
        return core is null ? (a[0], b[1]) : (a[1], b[1] * core[2] * core[3]);
    }
}
