using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>The difference of a norm's weight and bias (lycoris/modules/norms.py): a <see cref="FullLayer"/> under names of its own.</summary>
internal sealed class TrainedNormKind : ReadKind
{
    private const string Weight = "w_norm", Bias = "b_norm";

    public override string Name => "trained norms";

    public override string Word => "norm";

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("lycoris.kohya", new Dictionary<string, string> { ["train_norm"] = "True" });

    public override bool FitsNorms => true;

    public override bool ChangesWeight(FileModule module) => module[Weight] is not null;

    public override bool ChangesBias(FileModule module) => module[Bias] is not null;

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new FullLayer(target, factors);

    public override bool Owns(FileModule module) => module[Weight] is not null || module[Bias] is not null;

    public override bool Knows(string parameter) => parameter is Weight or Bias or AdapterKey.Alpha;

    public override string? Fault(FileModule module) => module[Weight]?.Shape is { Count: not 1 } wrong ? $"{Weight} has the shape {Shapes.Show(wrong)}; one axis is read" : FullKind.Fault(module, Weight, Bias);

    public override string? Misfit(FileModule module, LayerShape layer) =>
        layer.IsNorm ? FullKind.Misfit(module, layer, Weight, Bias) : $"{(module[Weight] is null ? Bias : Weight)} is for a norm, the layer is {(layer.IsConvolution ? "a convolution" : "linear")}";

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape) => FullKind.Factors(module, shape, Weight, Bias);

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module) => FullKind.Read(module, Weight, Bias);

    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer) =>
        layer.Factors.Select(item => (item.Key == FullKind.Weight ? Weight : Bias, item.Value));
}
