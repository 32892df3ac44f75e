using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>GLoRA of one layer (arXiv:2306.07967, its low-rank support tensors; lycoris/modules/glora.py): ΔW = scale · (W a1 a2 + b1 b2), so that the change depends on the weight.</summary>
internal sealed class GloraLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : ChangedLayer(target, factors)
{
    private protected override Tensor WeightDelta(Tensor weight, double strength)
    {
        var w = weight.to(ScalarType.Float32).view(Shape.Outputs, Shape.Inputs, -1);             // (out, in, kh·kw)
        var mixed = einsum("oik,ir->ork", w, Factors["a1"]);
        return einsum("ork,ri->oik", mixed, Factors["a2"]).flatten(1).addmm_(Factors["b1"], Factors["b2"], 1f, 1f).MultiplyInPlace(Scale * strength);
    }
}

/// <summary>GLoRA of LyCORIS.</summary>
internal sealed class GloraKind : ReadKind
{
    private static readonly string[] Parts = ["a1", "a2", "b1", "b2"];

    public override string Name => "GLoRA";

    public override string Word => "glora";

    public override bool DependsOnBase => true;

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("lycoris.kohya", new Dictionary<string, string> { ["algo"] = "glora" });

    public override bool HasRank(FileModule module) => true;

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new GloraLayer(target, factors);

    public override bool Owns(FileModule module) => Parts.Any(part => module[Parameter(part)] is not null);

    public override bool Knows(string parameter) => parameter == AdapterKey.Alpha || Parts.Any(part => parameter == Parameter(part));

    public override string? Fault(FileModule module)
    {
        var missing = Parts.Where(part => module[Parameter(part)] is null).ToList();
        if (missing.Count > 0) return $"{string.Join(", ", Parts.Except(missing))} without {string.Join(", ", missing)}";
        var (a1, a2, b1, b2) = (Shape("a1"), Shape("a2"), Shape("b1"), Shape("b2"));
        var rank = b1[1];
        return a1[1] == rank && a2[0] == rank && b2[0] == rank && a1[0] == a2[1] && a2[1] == b2[1] && rank > 0 ? null
            : $"a1 {Shapes.Show(a1)}, a2 {Shapes.Show(a2)}, b1 {Shapes.Show(b1)} and b2 {Shapes.Show(b2)} do not fit each other";

        IReadOnlyList<long> Shape(string part) => module[Parameter(part)]!.Shape is { Count: 2 or 4 } shape ? shape : [0, 0];
    }

    public override int RankOf(FileModule module) => (int)module[Parameter("b1")]!.Shape[1];

    public override long InputsOf(FileModule module) => module[Parameter("a2")]!.Shape[1];

    public override string? Misfit(FileModule module, LayerShape layer)
    {
        var (inputs, outputs) = (InputsOf(module), module[Parameter("b1")]!.Shape[0]);
        if (inputs != layer.Inputs) return string.Create(CultureInfo.InvariantCulture, $"a2 has {inputs} input columns, the layer has {layer.Inputs}");
        if (outputs != layer.Outputs) return string.Create(CultureInfo.InvariantCulture, $"b1 has {outputs} output rows, the layer has {layer.Outputs}");
        var kernel = module[Parameter("b2")]!.Shape.Skip(2).Aggregate(1L, (a, b) => a * b);
        var wanted = layer.Kernel.Aggregate(1L, (a, b) => a * b);
        return kernel == wanted ? null : string.Create(CultureInfo.InvariantCulture, $"b2 has a kernel of {kernel} places, the layer has {wanted}");
    }

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape)
    {
        var columns = shape.Inputs * shape.Kernel.Aggregate(1L, (a, b) => a * b);
        return [new("a1", shape.Inputs, module.Rank), new("a2", module.Rank, shape.Inputs), new("b1", shape.Outputs, module.Rank), new("b2", module.Rank, columns)];
    }

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module) => Parts.ToDictionary(part => part, part => module.Read(Parameter(part)));

    /// <summary>Without its base the part b1 b2 alone, and a1 a2 beside it.</summary>
    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale) =>
        stack([NormOfProduct(factors["a2"].flatten(1), factors["a1"].flatten(1)), NormOfProduct(factors["b2"].flatten(1), factors["b1"].flatten(1))]).norm().MultiplyInPlace(Math.Abs(scale));

    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer)
    {
        var kernel = LayerShape.Of(layer.Module)!.Kernel;
        var ones = kernel.Select(_ => 1L).ToArray();
        return Parts.Select(part => (Parameter(part), layer.Factors[part]))
            .Select(item => (item.Item1, item.Item1 == Parameter("b2") ? item.Item2.view([item.Item2.shape[0], LayerShape.Of(layer.Module)!.Inputs, .. kernel]) : item.Item2.view([.. item.Item2.shape, .. ones])))
            .Append(Alpha(layer.Alpha));
    }

    private static string Parameter(string part) => part + ".weight";
}
