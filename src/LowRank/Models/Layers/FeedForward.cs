using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Models.Layers;

/// <summary>Linear to twice the width, one half gating the other: value · gelu(gate), gelu with erf (Shazeer 2020, "GLU Variants", eq. 5).</summary>
internal sealed class Geglu : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> proj;

    public Geglu(int inputs, int outputs, LayerFactory layers) : base(nameof(Geglu))
    {
        proj = layers.Linear(inputs, 2 * outputs);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var halves = proj.call(x).chunk(2, -1);   // value, gate
        return (halves[0] * functional.gelu(halves[1])).MoveToOuterDisposeScope();
    }
}

/// <summary>GEGLU to four times the channels, and back: (…, C) to (…, C). <c>net.1</c> is a dropout in the published model, the identity here.</summary>
internal sealed class FeedForward : Module<Tensor, Tensor>
{
    private readonly TorchSharp.Modules.ModuleList<Module<Tensor, Tensor>> net;

    public FeedForward(int channels, LayerFactory layers) : base(nameof(FeedForward))
    {
        net = ModuleList<Module<Tensor, Tensor>>(new Geglu(channels, 4 * channels, layers), Identity(), layers.Linear(4 * channels, channels));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var gated = net[0].call(x);   // (…, 4C)
        return net[2].call(gated);
    }
}
