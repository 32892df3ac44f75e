using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>
/// What an adapter needs to know of the layer it is put on: a linear layer (<see cref="Kernel"/> empty), a plain 2-D convolution, or, for the few kinds
/// that change them, a norm.
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

    /// <summary>A norm, whose weight has one number for each channel: no target of low-rank kinds.</summary>
    public bool IsNorm { get; private init; }

    /// <summary>Whether channels are the second axis of its output, not the last.</summary>
    private bool ChannelsSecond { get; init; }

    /// <summary>(out, in) or (out, in, kh, kw); of a norm (channels).</summary>
    public long[] Weight => IsNorm ? [Outputs] : [Outputs, Inputs, .. Kernel];

    /// <summary>The shape in which numbers for each channel broadcast over an output of so many axes.</summary>
    public long[] Channels(long axes) => IsConvolution || ChannelsSecond ? [1, -1, .. Enumerable.Repeat(1L, (int)axes - 2)] : [-1];

    /// <summary>(r, in) or (r, in, kh, kw).</summary>
    public long[] Down(long rank) => [rank, Inputs, .. Kernel];

    /// <summary>(out, r) or (out, r, 1, 1).</summary>
    public long[] Up(long rank) => [Outputs, rank, .. Kernel.Select(_ => 1L)];

    /// <summary>The shape of a linear layer or convolution, which every kind can adapt; null for any other module.</summary>
    public static LayerShape? Of(nn.Module module) => module switch
    {
        Linear linear => new(linear.in_features, linear.out_features, [], [], [], []),
        Conv2d { groups: 1, padding_mode: PaddingModes.Zeros, padding_type: null } conv =>
            new(conv.in_channels, conv.out_channels, Two(conv.kernel_size), Two(conv.stride), Two(conv.padding), Two(conv.dilation)),
        _ => null,
    };

    /// <summary>The shape of a norm with a weight; null for any other module.</summary>
    public static LayerShape? OfNorm(nn.Module module) => module switch
    {
        GroupNorm { affine: true } norm => new(1, norm.weight!.numel(), [], [], [], []) { IsNorm = true, ChannelsSecond = true },
        LayerNorm { elementwise_affine: true, normalized_shape: [var channels] } => new(1, channels, [], [], [], []) { IsNorm = true },
        _ => null,
    };

    /// <summary>The weight of a layer that <see cref="Of"/> or <see cref="OfNorm"/> knows; still owned by the layer.</summary>
    public static Parameter WeightOf(nn.Module module) => module switch
    {
        Linear linear => linear.weight!,
        Conv2d conv => conv.weight!,
        GroupNorm norm => norm.weight!,
        LayerNorm norm => norm.weight!,
        _ => throw new ArgumentException($"{module.GetName()} has no weight that an adapter could change", nameof(module)),
    };

    /// <summary>The bias of such a layer, null for none; still owned by the layer.</summary>
    public static Parameter? BiasOf(nn.Module module) => module switch
    {
        Linear linear => linear.bias,
        Conv2d conv => conv.bias,
        GroupNorm norm => norm.bias,
        LayerNorm norm => norm.bias,
        _ => null,
    };

    private static long[] Two(long[]? sizes) => sizes is null ? [0, 0] : sizes.Length == 1 ? [sizes[0], sizes[0]] : sizes;
}
