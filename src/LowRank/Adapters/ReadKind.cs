using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>A kind that is read from files, used and merged, but not trained: options have no word for it.</summary>
internal abstract class ReadKind : LayerKind
{
    public sealed override AdapterKind? Kind => null;

    public abstract override string Word { get; }

    public override bool HasRank(FileModule module) => false;

    public override bool IsInPeft => false;

    /// <summary>Of a module without a rank.</summary>
    public override double ScaleOf(FileModule module) => HasRank(module) ? base.ScaleOf(module) : 1;

    /// <summary>1, so that a layer without a rank has the scale alpha / rank = 1.</summary>
    public override int RankOf(FileModule module) => 1;

    /// <summary>Most of them do not tell.</summary>
    public override long InputsOf(FileModule module) => 0;

    /// <summary>√(sum of the squares of all numbers).</summary>
    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale) =>
        stack(factors.Values.Select(values => values.to(ScalarType.Float64).norm())).norm();

    public sealed override IReadOnlyList<Factor> Factors(LayerShape shape, int rank, AdapterOptions options) => throw NotTrained();

    public sealed override void Start(AdapterLayer layer, AdapterOptions options, Generator init) => throw NotTrained();

    /// <summary>PEFT's libraries have no words for it.</summary>
    public override IEnumerable<(string Parameter, Tensor Tensor)> Peft(AdapterLayer layer) =>
        throw new Foundation.CheckpointException($"the adapter is not written: {layer.Component}.{layer.Path} is of the kind {Name}, which PEFT does not know; write it in kohya's convention");

    private InvalidOperationException NotTrained() => new($"{Name} is not trained; no option asks for it");
}
