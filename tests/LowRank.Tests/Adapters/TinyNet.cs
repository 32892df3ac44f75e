using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Tests.Adapters;

/// <summary>A small module tree of plain TorchSharp layers with every kind an adapter knows, by formula weights.</summary>
internal static class TinyNet
{
    /// <summary>(B, 4, H, W) to (B·h·w, 5): 3×3 convolution with stride, 1×1 convolution, two linear layers.</summary>
    public static Sequential Make(ScalarType type = ScalarType.Float32)
    {
        var net = Sequential(
            ("wide", Conv2d(4, 6, 3, stride: 2, padding: 1)),
            ("narrow", Conv2d(6, 8, 1, bias: false)),
            ("act", SiLU()),
            ("rows", new ToRows()),
            ("first", Linear(8, 7)),
            ("last", Linear(7, 5, hasBias: false)));
        LowRank.Testing.Formula.Fill(net, 5);
        foreach (var parameter in net.parameters()) parameter.requires_grad = false;
        return net.to(type);
    }

    /// <summary>The same with a norm after the first convolution and one before the linear layers.</summary>
    public static Sequential WithNorms(ScalarType type = ScalarType.Float32)
    {
        var net = Sequential(
            ("wide", Conv2d(4, 6, 3, stride: 2, padding: 1)),
            ("group", GroupNorm(3, 6)),
            ("narrow", Conv2d(6, 8, 1, bias: false)),
            ("act", SiLU()),
            ("rows", new ToRows()),
            ("layer", LayerNorm(8)),
            ("first", Linear(8, 7)),
            ("last", Linear(7, 5, hasBias: false)));
        LowRank.Testing.Formula.Fill(net, 5);
        foreach (var parameter in net.parameters()) parameter.requires_grad = false;
        return net.to(type);
    }

    public static Dictionary<string, nn.Module> Components(nn.Module net) => new() { ["net"] = net };

    /// <summary>(B, C, H, W) to (B·H·W, C).</summary>
    private sealed class ToRows() : Module<Tensor, Tensor>(nameof(ToRows))
    {
        public override Tensor forward(Tensor x) => x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]);
    }
}
