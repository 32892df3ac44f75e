using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>
/// OFT of one layer (arXiv:2306.07280; lycoris/modules/diag_oft.py): the outputs are turned in blocks, W' = (I + s (Rᵀ - I)) W. A file with lengths
/// (<c>rescale</c>) multiplies the outputs by them at every strength but 0, as LyCORIS does.
/// </summary>
internal sealed class OftLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors, RotationRule rule) : ChangedLayer(target, factors)
{
    internal override double Scale => 1;

    private protected override bool IsLinear => !Factors.ContainsKey(Rotations.Rescale);

    private protected override Tensor WeightDelta(Tensor weight, double strength)
    {
        var blocks = Factors[Rotations.Blocks];                                                       // (k, m, m)
        var w = weight.to(ScalarType.Float32).flatten(1);                                             // (out, n)
        var turn = Rotations.Turn(blocks, Alpha * Shape.Outputs, rule).transpose(1, 2).Times(strength);
        var turned = turn.bmm(w.view(blocks.shape[0], blocks.shape[1], -1)).view(w.shape);            // s (Rᵀ - I) W
        if (!Factors.TryGetValue(Rotations.Rescale, out var lengths)) return turned;
        return turned.AddInPlace(w).mul_(lengths.view(-1, 1)).sub_(w);
    }
}

/// <summary>OFT of LyCORIS, or of sd-scripts, whose names begin with <c>oft_</c>.</summary>
internal sealed class OftKind(RotationRule rule) : ReadKind
{
    private const string SdScriptsPrefix = "oft_", KohyaPrefix = "lora_";

    public override string Name => "OFT";

    public override string Word => "oft";

    public override bool DependsOnBase => true;

    public override (string, IReadOnlyDictionary<string, string>) Trainer => rule == RotationRule.SdScripts
        ? ("networks.oft", new Dictionary<string, string>())
        : ("lycoris.kohya", new Dictionary<string, string> { ["algo"] = "diag-oft" });

    public override bool AlphaIsLimit => true;

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new OftLayer(target, factors, rule);

    public override bool Owns(FileModule module) =>
        (module[Rotations.Blocks] is { Shape.Count: not 4 } || (module[Rotations.Rescale] is not null && module[Rotations.Blocks] is null))
        && module.Name.StartsWith(SdScriptsPrefix, StringComparison.Ordinal) == (rule == RotationRule.SdScripts);

    public override bool Knows(string parameter) => parameter is Rotations.Blocks or AdapterKey.Alpha || (parameter == Rotations.Rescale && rule == RotationRule.Lycoris);

    public override string? Fault(FileModule module)
    {
        if (module[Rotations.Blocks]?.Shape is not { } shape) return $"{Rotations.Rescale} without {Rotations.Blocks}";
        if (shape is not [> 0, var size, var other] || size != other) return $"{Rotations.Blocks} has the shape {Shapes.Show(shape)}; (blocks, size, size) is read";
        if (rule == RotationRule.SdScripts && module[AdapterKey.Alpha] is null) return $"{Rotations.Blocks} without alpha, which limits how far sd-scripts' OFT turns";
        return Rotations.FaultOfRescale(module, shape[0] * shape[1]);
    }

    public override string? Misfit(FileModule module, LayerShape layer)
    {
        var shape = module[Rotations.Blocks]!.Shape;
        return shape[0] * shape[1] == layer.Outputs ? null : string.Create(CultureInfo.InvariantCulture, $"{Rotations.Blocks} turns {shape[0] * shape[1]} outputs, the layer has {layer.Outputs}");
    }

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape)
    {
        Factor blocks = new(Rotations.Blocks, [.. module[Rotations.Blocks]!.Shape]);
        return module[Rotations.Rescale] is null ? [blocks] : [blocks, new(Rotations.Rescale, [shape.Outputs, .. shape.Weight.Skip(1).Select(_ => 1L)])];
    }

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module) =>
        new[] { Rotations.Blocks, Rotations.Rescale }.Where(name => module[name] is not null).ToDictionary(name => name, module.Read);

    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale) => Rotations.Norm(factors);

    public override string KohyaName(string name) => rule == RotationRule.SdScripts && name.StartsWith(KohyaPrefix, StringComparison.Ordinal) ? SdScriptsPrefix + name[KohyaPrefix.Length..] : name;

    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer) => layer.Factors.Select(item => (item.Key, item.Value)).Append(Alpha(layer.Alpha));
}
