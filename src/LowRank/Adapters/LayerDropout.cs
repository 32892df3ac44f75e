using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>Where dropout can sit in an adapter layer.</summary>
internal enum DropoutPlace
{
    /// <summary>The whole layer, by one draw a call; nothing grows in its place.</summary>
    Module,

    /// <summary>The input of the first factor.</summary>
    Input,

    /// <summary>What down makes of it, each number by itself.</summary>
    Neuron,

    /// <summary>Whole rows of down, by one mask for each picture.</summary>
    Rank,

    /// <summary>What the layer adds to its module's output.</summary>
    Output,
}

/// <summary>The share that is dropped at each place; 0 up to, not including, 1.</summary>
internal sealed record DropoutShares(double Module = 0, double Input = 0, double Neuron = 0, double Rank = 0, double Output = 0)
{
    public bool Any => Module > 0 || Input > 0 || Neuron > 0 || Rank > 0 || Output > 0;
}

/// <summary>Dropout of one layer in one call. Numbers below the share drop; what stays grows by 1 / (1 - share).</summary>
/// <param name="layer">Whose.</param>
/// <param name="shares">How much.</param>
/// <param name="numbers">Numbers in [0, 1): a place, the layer and a shape to a float32 tensor on the CPU.</param>
internal sealed class LayerDropout(AdapterLayer layer, DropoutShares shares, Func<DropoutPlace, AdapterLayer, long[], Tensor> numbers)
{
    /// <summary>Whether this call leaves the layer out.</summary>
    public bool SkipsModule()
    {
        if (shares.Module == 0) return false;
        using var scope = NewDisposeScope();
        return numbers(DropoutPlace.Module, layer, [1])[0].item<float>() < shares.Module;
    }

    /// <summary>Whether <see cref="Output"/> does anything.</summary>
    public bool OnOutput => shares.Output > 0;

    /// <summary>Whether <see cref="Hidden"/> does anything.</summary>
    public bool OnHidden => shares.Neuron > 0 || shares.Rank > 0;

    /// <summary>For the input of the layer.</summary>
    public Tensor Input(Tensor x) => Drop(DropoutPlace.Input, shares.Input, x, x.shape);

    /// <summary>For what down makes: (B, …, r), or (B, r, H, W) of a convolution.</summary>
    public Tensor Hidden(Tensor hidden, bool convolution)
    {
        hidden = Drop(DropoutPlace.Neuron, shares.Neuron, hidden, hidden.shape);
        var (batch, rank) = (hidden.shape[0], hidden.shape[convolution ? 1 : ^1]);
        long[] perPicture = convolution ? [batch, rank, 1, 1] : [batch, .. Enumerable.Repeat(1L, (int)hidden.dim() - 2), rank];
        return Drop(DropoutPlace.Rank, shares.Rank, hidden, [batch, rank], perPicture);
    }

    /// <summary>For what the layer adds.</summary>
    public Tensor Output(Tensor delta) => Drop(DropoutPlace.Output, shares.Output, delta, delta.shape);

    /// <summary>0 for dropped elements, 1 / (1 - share) for the others. Drawn on the CPU: the same on every device.</summary>
    private Tensor Drop(DropoutPlace place, double share, Tensor values, long[] drawn, long[]? view = null)
    {
        if (share == 0) return values;
        var mask = numbers(place, layer, drawn).IsAtLeast(share).to(values.dtype).DivideInPlace(1 - share).to(values.device);
        return values.mul(view is null ? mask : mask.view(view));
    }
}
