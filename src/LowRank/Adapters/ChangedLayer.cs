using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>
/// A layer whose change is no product of small factors: the module's own computation runs a second time with ΔW in the weight's place, and the result is
/// added to the output. ΔW is kept as long as it serves: of a linear kind that of strength 1, of others that of the last strength. The factors are not trained.
/// </summary>
internal abstract class ChangedLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : AdapterLayer(target, factors)
{
    private (double Strength, Tensor Delta)? kept;

    internal override IEnumerable<Tensor> Fixed => kept is var (_, delta) ? [delta] : [];

    /// <summary>Whether twice the strength is twice the change.</summary>
    private protected virtual bool IsLinear => true;

    private protected sealed override Tensor Branch(Tensor x, Tensor y, double strength, LayerDropout? dropout)
    {
        Tensor? change = null;
        if (ChangesWeight)
        {
            change = Apply(x, Kept(IsLinear ? 1 : strength).to(x.dtype));
            if (IsLinear) change = change.Times(strength);
        }
        if (BiasDelta(strength) is not { } bias) return change!;
        var added = bias.to(x.dtype).view(Shape.Channels(y.dim()));
        return change?.Plus(added) ?? added;
    }

    /// <summary>ΔW, made when the strength is another one.</summary>
    private protected virtual Tensor Kept(double strength)
    {
        if (kept is var (known, same) && known == strength) return same;
        kept?.Delta.Dispose();
        var delta = DeltaOn(LayerShape.WeightOf(Module), strength).DetachFromDisposeScope();
        kept = (strength, delta);
        return delta;
    }
}
