using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>
/// BOFT of one layer (arXiv:2311.06243; lycoris/modules/boft.py): several stages of an OFT, each on outputs in another order, so that all outputs mix.
/// A strength moves the rotation of every stage, so the change is not linear in it.
/// </summary>
internal sealed class BoftLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : ChangedLayer(target, factors)
{
    internal override double Scale => 1;

    private protected override bool IsLinear => false;

    private protected override Tensor WeightDelta(Tensor weight, double strength)
    {
        var w = weight.to(ScalarType.Float32).flatten(1);   // (out, n)
        var turn = Rotations.Turn(Factors[Rotations.Blocks], Alpha * Shape.Outputs, RotationRule.Lycoris).Times(strength);   // (stages, k, m, m)
        var (size, columns) = (turn.shape[^1], w.shape[1]);
        var turned = w;
        for (long stage = 0, stride = size / 2; stage < turn.shape[0]; stage++, stride *= 2)
        {
            var grouped = turned.reshape(-1, 2, stride, columns).transpose(1, 2).reshape(-1, size, columns);   // (k, m, n): outputs that lie a stride apart
            grouped = grouped.Plus(turn[stage].bmm(grouped));
            turned = grouped.reshape(-1, stride, 2, columns).transpose(1, 2).reshape(w.shape);
        }
        if (Factors.TryGetValue(Rotations.Rescale, out var lengths)) turned = turned.mul(lengths.view(-1, 1));
        return turned.sub(w);
    }
}

/// <summary>BOFT of LyCORIS: the blocks of an OFT with an axis of stages before them.</summary>
internal sealed class BoftKind : ReadKind
{
    public override string Name => "BOFT";

    public override string Word => "boft";

    public override bool DependsOnBase => true;

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("lycoris.kohya", new Dictionary<string, string> { ["algo"] = "boft" });

    public override bool AlphaIsLimit => true;

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new BoftLayer(target, factors);

    public override bool Owns(FileModule module) => module[Rotations.Blocks] is { Shape.Count: 4 };

    public override bool Knows(string parameter) => parameter is Rotations.Blocks or Rotations.Rescale or AdapterKey.Alpha;

    public override string? Fault(FileModule module)
    {
        var shape = module[Rotations.Blocks]!.Shape;
        var good = shape is [> 0 and < 31, > 0, > 0, var size] && size == shape[2] && size % 2 == 0 && shape[1] * size % (size << (int)(shape[0] - 1)) == 0;
        return good ? Rotations.FaultOfRescale(module, shape[1] * shape[2]) : $"{Rotations.Blocks} has the shape {Shapes.Show(shape)}; (stages, blocks, size, size) is read, with an even size and 2^(stages - 1) dividing the blocks";
    }

    public override string? Misfit(FileModule module, LayerShape layer)
    {
        var shape = module[Rotations.Blocks]!.Shape;
        return shape[1] * shape[2] == layer.Outputs ? null : string.Create(CultureInfo.InvariantCulture, $"{Rotations.Blocks} turns {shape[1] * shape[2]} outputs, the layer has {layer.Outputs}");
    }

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape)
    {
        Factor blocks = new(Rotations.Blocks, [.. module[Rotations.Blocks]!.Shape]);
        return module[Rotations.Rescale] is null ? [blocks] : [blocks, new(Rotations.Rescale, [shape.Outputs, .. shape.Weight.Skip(1).Select(_ => 1L)])];
    }

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module) =>
        new[] { Rotations.Blocks, Rotations.Rescale }.Where(name => module[name] is not null).ToDictionary(name => name, module.Read);

    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale) => Rotations.Norm(factors);

    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer) => layer.Factors.Select(item => (item.Key, item.Value)).Append(Alpha(layer.Alpha));
}
