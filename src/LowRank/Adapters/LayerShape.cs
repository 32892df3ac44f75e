using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>
/// What an adapter needs to know of the layer it is put on: a linear layer (<see cref="Kernel"/> empty) or a plain 2-D convolution.
/// </summary>
/// <param name="Inputs">Features or channels in.</param>
/// <param name="Outputs">Features or channels out.</param>
/// <param name="Kernel">(kh, kw) of a convolution; empty for a linear layer.</param>
/// <param name="Stride">Of a convolution, as it has it.</param>
/// <param name="Padding">Zeros around the input of a convolution.</param>
/// <param name="Dilation">Of a convolution.</param>
internal sealed record LayerShape(long Inputs, long Outputs, long[] Kernel, long[] Stride, long[] Padding, long[] Dilation)
{
    public bool IsConvolution => Kernel.Length > 0;

    /// <summary>A convolution whose kernel is larger than 1×1.</summary>
    public bool IsWideConvolution => Kernel.Any(size => size > 1);

    /// <summary>(out, in) or (out, in, kh, kw).</summary>
    public long[] Weight => [Outputs, Inputs, .. Kernel];

    /// <summary>(r, in) or (r, in, kh, kw).</summary>
    public long[] Down(long rank) => [rank, Inputs, .. Kernel];

    /// <summary>(out, r) or (out, r, 1, 1).</summary>
    public long[] Up(long rank) => [Outputs, rank, .. Kernel.Select(_ => 1L)];

    /// <summary>The shape of a layer that can be adapted; null for any other module.</summary>
    public static LayerShape? Of(nn.Module module) => module switch
    {
        Linear linear => new(linear.in_features, linear.out_features, [], [], [], []),
        Conv2d { groups: 1, padding_mode: PaddingModes.Zeros, padding_type: null } conv =>
            new(conv.in_channels, conv.out_channels, Two(conv.kernel_size), Two(conv.stride), Two(conv.padding), Two(conv.dilation)),
        _ => null,
    };

    /// <summary>The weight of a layer that <see cref="Of"/> knows; still owned by the layer.</summary>
    public static Parameter WeightOf(nn.Module module) => module switch
    {
        Linear linear => linear.weight!,
        Conv2d conv => conv.weight!,
        _ => throw new ArgumentException($"{module.GetName()} has no weight that an adapter could change", nameof(module)),
    };

    /// <summary>The bias of such a layer, null for none; still owned by the layer.</summary>
    public static Parameter? BiasOf(nn.Module module) => module is Linear linear ? linear.bias : ((Conv2d)module).bias;

    private static long[] Two(long[]? sizes) => sizes is null ? [0, 0] : sizes.Length == 1 ? [sizes[0], sizes[0]] : sizes;
}
