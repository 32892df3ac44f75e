using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>The whole difference of a layer (lycoris/modules/full.py and norms.py): W' = W + s · diff, b' = b + s · diff_b; either may be missing.</summary>
internal sealed class FullLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : ChangedLayer(target, factors)
{
    internal override double Scale => 1;

    internal override bool ChangesWeight => Factors.ContainsKey(FullKind.Weight);

    private protected override Tensor? Bias => Factors.GetValueOrDefault(FullKind.Bias);

    private protected override Tensor WeightDelta(Tensor weight, double strength) =>
        ChangesWeight ? Factors[FullKind.Weight].Times(strength) : zeros(Shape.Weight, ScalarType.Float32, weight.device);

    /// <summary>The factor itself: no second copy of it.</summary>
    private protected override Tensor Kept(double strength) => Factors[FullKind.Weight];
}

/// <summary>Whole differences of LyCORIS and ComfyUI: of linear layers, convolutions and norms.</summary>
internal sealed class FullKind : ReadKind
{
    /// <summary>Parameters, and names of the factors.</summary>
    public const string Weight = "diff", Bias = "diff_b";

    public override string Name => "full weight difference";

    public override string Word => "full";

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("lycoris.kohya", new Dictionary<string, string> { ["algo"] = "full" });

    public override bool FitsNorms => true;

    public override bool ChangesWeight(FileModule module) => module[Weight] is not null;

    public override bool ChangesBias(FileModule module) => module[Bias] is not null;

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new FullLayer(target, factors);

    public override bool Owns(FileModule module) => module[Weight] is not null || module[Bias] is not null;

    public override bool Knows(string parameter) => parameter is Weight or Bias or AdapterKey.Alpha;

    public override string? Fault(FileModule module) => Fault(module, Weight, Bias);

    public override long InputsOf(FileModule module) => module[Weight]?.Shape is [_, var inputs, ..] ? inputs : 0;

    public override string? Misfit(FileModule module, LayerShape layer) => Misfit(module, layer, Weight, Bias);

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape) => Factors(module, shape, Weight, Bias);

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module) => Read(module, Weight, Bias);

    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer) => layer.Factors.Select(item => (item.Key, item.Value));

    /// <summary>Of a difference of a weight and one of a bias, of which one may be missing, by the names that a kind has for them.</summary>
    public static string? Fault(FileModule module, string weight, string bias)
    {
        if (module[weight]?.Shape is { } shape && shape.Count is not (1 or 2 or 4)) return $"{weight} has the shape {Shapes.Show(shape)}; one, two or four axes are read";
        return module[bias]?.Shape is { Count: not 1 } wrong ? $"{bias} has the shape {Shapes.Show(wrong)}; one axis is read" : null;
    }

    public static string? Misfit(FileModule module, LayerShape layer, string weight, string bias)
    {
        if (module[weight]?.Shape is { } shape && !Trimmed(shape).SequenceEqual(Trimmed(layer.Weight))) return $"{weight} has the shape {Shapes.Show(shape)}, the layer's weight {Shapes.Show(layer.Weight)}";
        return module[bias]?.Shape is [var count] && count != layer.Outputs ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{bias} has {count} numbers, the layer has {layer.Outputs} outputs") : null;

        // a linear layer's weight may stand as that of a 1×1 convolution, and the other way round
        static IEnumerable<long> Trimmed(IReadOnlyList<long> sizes) => sizes.Reverse().SkipWhile(size => size == 1).Reverse();
    }

    public static IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape, string weight, string bias)
    {
        var factors = new List<Factor>();
        if (module[weight] is not null) factors.Add(new(Weight, shape.Weight));
        if (module[bias] is not null) factors.Add(new(Bias, shape.Outputs));
        return factors;
    }

    public static Dictionary<string, Tensor> Read(FileModule module, string weight, string bias)
    {
        var factors = new Dictionary<string, Tensor>();
        if (module[weight] is not null) factors[Weight] = module.Read(weight);
        if (module[bias] is not null) factors[Bias] = module.Read(bias);
        return factors;
    }
}
