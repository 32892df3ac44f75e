using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>(IA)³ of one layer (arXiv:2205.05638; lycoris/modules/ia3.py): W' = W · (1 + s · scales), a number for each output or each input.</summary>
internal sealed class Ia3Layer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : ChangedLayer(target, factors)
{
    internal override double Scale => 1;

    private protected override Tensor WeightDelta(Tensor weight, double strength) => weight.to(ScalarType.Float32).mul(Factors[Ia3Kind.Scales].Times(strength));
}

/// <summary>(IA)³ of LyCORIS.</summary>
internal sealed class Ia3Kind : ReadKind
{
    /// <summary>The factor: (out, 1, …) or (1, in, …).</summary>
    public const string Scales = "scales";

    public const string OnInput = "on_input";

    private const string Weight = "weight";

    public override string Name => "(IA)³";

    public override string Word => "ia3";

    public override bool DependsOnBase => true;

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("lycoris.kohya", new Dictionary<string, string> { ["algo"] = "ia3" });

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new Ia3Layer(target, factors);

    public override bool Owns(FileModule module) => module[OnInput] is not null;

    public override bool Knows(string parameter) => parameter is Weight or OnInput or AdapterKey.Alpha;

    public override string? Fault(FileModule module)
    {
        if (module[Weight]?.Shape is not { } shape) return $"{OnInput} without {Weight}";
        if (module[OnInput]!.Length == 0 || module[OnInput]!.Shape.Any(size => size != 1)) return $"{OnInput} has the shape {Shapes.Show(module[OnInput]!.Shape)}; one number is read";
        return shape.Count(size => size != 1) <= 1 && shape.Count > 0 ? null : $"{Weight} has the shape {Shapes.Show(shape)}; one number for each output or input is read";
    }

    public override string? Misfit(FileModule module, LayerShape layer)
    {
        var (count, onInput) = (Count(module), IsOnInput(module));
        var wanted = onInput ? layer.Inputs : layer.Outputs;
        return count == wanted ? null : string.Create(CultureInfo.InvariantCulture, $"{Weight} has {count} numbers, the layer has {wanted} {(onInput ? "inputs" : "outputs")}");
    }

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape)
    {
        var kernel = shape.Kernel.Select(_ => 1L);
        return [new(Scales, IsOnInput(module) ? [1, shape.Inputs, .. kernel] : [shape.Outputs, 1, .. kernel])];
    }

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module) => new Dictionary<string, Tensor> { [Scales] = module.Read(Weight) };

    /// <summary>In LyCORIS' shapes: (n), of a convolution (1, n, 1, 1).</summary>
    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer)
    {
        var scales = layer.Factors[Scales];
        var onInput = scales.shape[0] == 1 && LayerShape.WeightOf(layer.Module).shape[1] == scales.numel() && scales.shape[1] == scales.numel();
        return [(Weight, scales.dim() == 4 ? scales.view(1, -1, 1, 1) : scales.view(-1)), (OnInput, tensor(onInput ? 1L : 0L))];
    }

    private static bool IsOnInput(FileModule module)
    {
        using var flag = module.Read(OnInput);
        using var one = flag.reshape(1);
        return one[0].item<float>() != 0;
    }

    private static long Count(FileModule module) => module[Weight]!.Shape.Aggregate(1L, (a, b) => a * b);
}
