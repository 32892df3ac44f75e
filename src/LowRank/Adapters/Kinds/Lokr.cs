using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Adapters.Kinds;

/// <summary>
/// LoKr of one layer (arXiv:2212.10650, section 3.2; lycoris/modules/lokr.py): ΔW = scale · w1 ⊗ w2, where w1 is (ol, im), w2 (ok, ik, …),
/// out = ol·ok and in = im·ik. Each may be a product of two factors; with both whole the scale is 1.
/// </summary>
internal sealed class LokrLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : AdapterLayer(target, factors)
{
    internal override double Scale => LokrKind.IsWhole(Factors) ? 1 : base.Scale;

    private protected override Tensor WeightDelta(Tensor weight, double strength)
    {
        var (w1, w2) = (LokrKind.Whole(Factors, "w1"), LokrKind.Whole(Factors, "w2"));   // (ol, im), (ok, ik·kh·kw)
        long inner = Shape.Inputs / w1.shape[1];
        return kron(w1.view([.. w1.shape, .. Shape.Kernel.Select(_ => 1L)]), w2.view([w2.shape[0], inner, .. Shape.Kernel])).MultiplyInPlace(Scale * strength);
    }

    /// <summary>w2 works on groups of the input, w1 mixes the groups: neither ΔW nor anything of its size is formed.</summary>
    private protected override Tensor Branch(Tensor x, Tensor y, double strength, LayerDropout? dropout)
    {
        var w1 = LokrKind.Whole(Factors, "w1").to(x.dtype).Times(Scale * strength);
        var (mixed, inner) = (w1.shape[1], Shape.Inputs / w1.shape[1]);
        if (!Shape.IsConvolution)
        {
            var rows = Linear(x.reshape(-1, inner)).view(-1, mixed, y.shape[^1] / w1.shape[0]);   // (N, im, ok)
            return w1.matmul(rows).view(y.shape);                                                 // (N, ol, ok)
        }
        var groups = Convolution(x.reshape([-1, inner, .. x.shape[2..]]), inner);                 // (B·im, ok, H', W')
        return w1.matmul(groups.view(x.shape[0], mixed, -1)).view(y.shape);                       // (B, ol, ok·H'·W')
    }

    private Tensor Linear(Tensor x) => Factors.TryGetValue("w2", out var whole)
        ? functional.linear(x, whole.to(x.dtype))
        : functional.linear(functional.linear(x, Factors["w2_b"].to(x.dtype)), Factors["w2_a"].to(x.dtype));

    private Tensor Convolution(Tensor x, long inner)
    {
        Tensor Wide(Tensor weight) => functional.conv2d(x, weight.to(x.dtype).view([-1, inner, .. Shape.Kernel]), null, Shape.Stride, Shape.Padding, Shape.Dilation);
        return Factors.TryGetValue("w2", out var whole)
            ? Wide(whole)
            : functional.conv2d(Wide(Factors["w2_b"]), Factors["w2_a"].to(x.dtype).unsqueeze(-1).unsqueeze(-1));
    }
}

/// <summary>LoKr, with a Tucker core in files.</summary>
internal sealed class LokrKind : LayerKind
{
    private static readonly string[] Parts = ["w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b"];

    public override AdapterKind? Kind => AdapterKind.Lokr;

    public override string Name => "LoKr";

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("lycoris.kohya", new Dictionary<string, string> { ["algo"] = "lokr" });

    /// <summary>w1 or w2 in two axes, multiplied out where it is a product.</summary>
    public static Tensor Whole(IReadOnlyDictionary<string, Tensor> factors, string name) =>
        factors.TryGetValue(name, out var whole) ? whole.flatten(1) : factors[name + "_a"].mm(factors[name + "_b"]);

    public static bool IsWhole(IReadOnlyDictionary<string, Tensor> factors) => factors.ContainsKey("w1") && factors.ContainsKey("w2");

    public override IReadOnlyList<Factor> Factors(LayerShape shape, int rank, AdapterOptions options)
    {
        var ((ol, ok), (im, ik)) = (Split(shape.Outputs, options.Factor), Split(shape.Inputs, options.Factor));
        var columns = ik * shape.Kernel.Aggregate(1L, (a, b) => a * b);
        Factor[] first = options.DecomposeBoth && rank < Math.Max(ol, im) / 2.0 ? [new("w1_a", ol, rank), new("w1_b", rank, im)] : [new("w1", ol, im)];
        Factor[] second = rank < Math.Max(ok, ik) / 2.0 ? [new("w2_a", ok, rank), new("w2_b", rank, columns)] : [new("w2", [ok, ik, .. shape.Kernel])];
        return [.. first, .. second];
    }

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new LokrLayer(target, factors);

    /// <summary>As LyCORIS starts: w2 (of a product its second factor) is zero, all others Kaiming.</summary>
    public override void Start(AdapterLayer layer, AdapterOptions options, Generator init)
    {
        foreach (var (name, values) in layer.Factors.Where(item => item.Key is not ("w2" or "w2_b"))) Kaiming(values, init);
    }

    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale)
    {
        Tensor Part(string name) => factors.TryGetValue(name, out var whole) ? whole.to(ScalarType.Float64).norm() : NormOfProduct(factors[name + "_b"], factors[name + "_a"]);
        return Part("w1").mul_(Part("w2")).MultiplyInPlace(Math.Abs(scale));
    }

    public override bool Owns(FileModule module) => module.Parameters.Any(parameter => parameter.StartsWith("lokr_", StringComparison.Ordinal));

    public override bool Knows(string parameter) => parameter is "alpha" or "lokr_t2" || Array.Exists(Parts, part => parameter == "lokr_" + part);

    public override string? Fault(FileModule module)
    {
        foreach (var name in new[] { "lokr_w1", "lokr_w2" })
        {
            var (whole, a, b, core) = (module[name]?.Shape, module[name + "_a"]?.Shape, module[name + "_b"]?.Shape, name == "lokr_w2" ? module["lokr_t2"]?.Shape : null);
            if (whole is not null && (a is not null || b is not null || core is not null)) return $"{name} both whole and as a product";
            if (whole is null && (a is null || b is null)) return a is null && b is null ? $"{string.Join(", ", module.Parameters.Where(parameter => parameter != "alpha"))} without {name}" : $"{name}_{(a is null ? "b" : "a")} without {name}_{(a is null ? "a" : "b")}";
            if (whole is not null && !(whole.Count == 2 || (whole.Count == 4 && name == "lokr_w2"))) return $"{name} has the shape {Shapes.Show(whole)}; two axes are read{(name == "lokr_w2" ? ", or four" : "")}";
            if (whole is not null) continue;
            var inner = core is null ? a![^1] : a![0];
            if (a.Count != 2 || b!.Count != 2 || b[0] != inner || inner == 0 || (core is not null && !(core.Count == 4 && core[0] == inner && core[1] == inner)))
            {
                return $"{name}_a {Shapes.Show(a)} and {name}_b {Shapes.Show(b!)}{(core is null ? "" : $" around lokr_t2 {Shapes.Show(core)}")} do not fit each other";
            }
        }
        return null;
    }

    /// <summary>Of whole matrices the largest rank that they can have; it plays no part.</summary>
    public override int RankOf(FileModule module) =>
        (int)((module["lokr_w2_b"] ?? module["lokr_w1_b"])?.Shape[0] ?? module["lokr_w2"]!.Shape.Take(2).Min());

    public override bool HasRank(FileModule module) => module["lokr_w1"] is null || module["lokr_w2"] is null;

    public override long InputsOf(FileModule module) => Size(module).Mixed * Size(module).Columns;

    public override string? Misfit(FileModule module, LayerShape layer)
    {
        var (outputs, mixed, columns) = Size(module);
        var wanted = layer.Inputs * layer.Kernel.Aggregate(1L, (a, b) => a * b);
        if (mixed * columns != wanted) return string.Create(CultureInfo.InvariantCulture, $"lokr_w1 ⊗ lokr_w2 has {mixed * columns} columns, the layer has {wanted}");
        return outputs == layer.Outputs ? null : string.Create(CultureInfo.InvariantCulture, $"lokr_w1 ⊗ lokr_w2 has {outputs} output rows, the layer has {layer.Outputs}");
    }

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape)
    {
        var (_, mixed, columns) = Size(module);
        Factor[] Part(string name, long rows, long[] whole, long last) => module["lokr_" + name] is not null ? [new(name, whole)]
            : [new(name + "_a", rows, module[$"lokr_{name}_b"]!.Shape[0]), new(name + "_b", module[$"lokr_{name}_b"]!.Shape[0], last)];
        var (ol, ok) = (Rows(module, "w1"), Rows(module, "w2"));
        return [.. Part("w1", ol, [ol, mixed], mixed), .. Part("w2", ok, [ok, shape.Inputs / mixed, .. shape.Kernel], columns)];
    }

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module)
    {
        var factors = Parts.Where(part => module["lokr_" + part] is not null).ToDictionary(part => part, part => module.Read("lokr_" + part));
        if (module["lokr_t2"] is not null)
        {
            factors["w2_b"] = Fold(module.Read("lokr_t2"), factors["w2_b"]);
            factors["w2_a"] = factors["w2_a"].t();
        }
        // our whole factors have the scale 1; PEFT's have alpha / r
        if (IsWhole(factors)) factors["w2"] = factors["w2"].Times(ScaleOf(module));
        return factors;
    }

    /// <summary>Whole matrices have the scale 1 in LyCORIS' files, whatever their alpha; in PEFT's the configuration's.</summary>
    public override double ScaleOf(FileModule module) => HasRank(module) || module.Convention == AdapterConvention.Peft ? base.ScaleOf(module) : 1;

    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer) => layer.Factors.Select(item => ("lokr_" + item.Key, item.Value)).Append(Alpha(layer.Alpha));

    public override IEnumerable<(string Parameter, Tensor Tensor)> Peft(AdapterLayer layer) =>
        layer.Factors.Select(item => ("lokr_" + item.Key, item.Key is "w1" or "w1_a" ? item.Value.Times(layer.Scale) : item.Value));

    /// <summary>A dimension as (smaller, larger): by the factor where it divides, else as near to a square as a smaller one up to the factor allows (LyCORIS factorization); null for no limit.</summary>
    internal static (long, long) Split(long size, int? factor)
    {
        if (factor is { } wanted && size % wanted == 0) return (Math.Min(wanted, size / wanted), Math.Max(wanted, size / wanted));
        for (var small = (long)Math.Sqrt(size); small > 1; small--)
        {
            if (size % small == 0 && (factor is null || small <= factor)) return (small, size / small);
        }
        return (1, size);
    }

    /// <summary>Rows of the whole, columns of w1, columns of w2 (ik·kh·kw).</summary>
    private static (long Outputs, long Mixed, long Columns) Size(FileModule module)
    {
        var kernel = module["lokr_t2"] is { } core ? core.Shape[2] * core.Shape[3] : 1;
        var columns = module["lokr_w2"] is { } whole ? whole.Shape.Skip(1).Aggregate(1L, (a, b) => a * b) : module["lokr_w2_b"]!.Shape[1] * kernel;
        return (Rows(module, "w1") * Rows(module, "w2"), (module["lokr_w1"] ?? module["lokr_w1_b"])!.Shape[1], columns);
    }

    private static long Rows(FileModule module, string name) => module["lokr_" + name] is { } whole ? whole.Shape[0]
        : module[$"lokr_{name}_a"]!.Shape[name == "w2" && module["lokr_t2"] is not null ? 1 : 0];
}
