using LowRank.Foundation;
using LowRank.Models.Layers;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// huggingface/diffusers, src/diffusers/models/autoencoders/autoencoder_kl.py and vae.py; Rombach et al. 2022 (arXiv 2112.10752).

namespace LowRank.Models;

/// <summary>Two convolutions, the input added: (B, in, H, W) to (B, out, H, W).</summary>
internal sealed class VaeResnetBlock : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> norm1;
    private readonly Module<Tensor, Tensor> conv1;
    private readonly Module<Tensor, Tensor> norm2;
    private readonly Module<Tensor, Tensor> conv2;
    private readonly Module<Tensor, Tensor>? conv_shortcut;

    public VaeResnetBlock(int inputs, int outputs, int groups, LayerFactory layers) : base(nameof(VaeResnetBlock))
    {
        norm1 = layers.GroupNorm(groups, inputs, AutoencoderKL.NormEps);
        conv1 = layers.Conv2d(inputs, outputs, 3, padding: 1);
        norm2 = layers.GroupNorm(groups, outputs, AutoencoderKL.NormEps);
        conv2 = layers.Conv2d(outputs, outputs, 3, padding: 1);
        conv_shortcut = inputs == outputs ? null : layers.Conv2d(inputs, outputs, 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var hidden = Convolve(x);
        var kept = conv_shortcut is null ? x : conv_shortcut.call(x);
        return kept.Plus(hidden).MoveToOuterDisposeScope();
    }

    private Tensor Convolve(Tensor x)
    {
        using var hidden = NormSiluConv.Apply(norm1, conv1, x);
        return NormSiluConv.Apply(norm2, conv2, hidden);
    }
}

/// <summary>Attention of every pixel to every other with one head, the input added: (B, C, h, w) to (B, C, h, w).</summary>
internal sealed class VaeAttention : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> group_norm;
    private readonly Module<Tensor, Tensor> to_q;
    private readonly Module<Tensor, Tensor> to_k;
    private readonly Module<Tensor, Tensor> to_v;
    private readonly ModuleList<Module<Tensor, Tensor>> to_out;

    public VaeAttention(int channels, int groups, LayerFactory layers) : base(nameof(VaeAttention))
    {
        group_norm = layers.GroupNorm(groups, channels, AutoencoderKL.NormEps);
        to_q = layers.Linear(channels, channels);
        to_k = layers.Linear(channels, channels);
        to_v = layers.Linear(channels, channels);
        to_out = ModuleList<Module<Tensor, Tensor>>(layers.Linear(channels, channels));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var tokens = group_norm.call(x).flatten(2).transpose(1, 2);   // (B, hw, C)
        var attended = Attention.ScaledDotProduct(to_q.call(tokens), to_k.call(tokens), to_v.call(tokens), heads: 1);
        var map = to_out[0].call(attended).transpose(1, 2).reshape(x.shape);
        return x.Plus(map).MoveToOuterDisposeScope();
    }
}

/// <summary>The coarsest level: (B, C, h, w) to (B, C, h, w).</summary>
internal sealed class VaeMidBlock : Module<Tensor, Tensor>
{
    private readonly ModuleList<VaeResnetBlock> resnets;
    private readonly ModuleList<VaeAttention>? attentions;

    public VaeMidBlock(AutoencoderKLConfig config, LayerFactory layers) : base(nameof(VaeMidBlock))
    {
        var (channels, groups) = (config.BlockOutChannels[^1], config.NormNumGroups);
        resnets = ModuleList(new VaeResnetBlock(channels, channels, groups, layers), new VaeResnetBlock(channels, channels, groups, layers));
        if (config.MidBlockAddAttention) attentions = ModuleList(new VaeAttention(channels, groups, layers));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        x = resnets[0].call(x);
        if (attentions is not null) x = attentions[0].call(x);
        return resnets[1].call(x).MoveToOuterDisposeScope();
    }
}

/// <summary>Halves a feature map: one column right and one row below of zeros, then no padding, so odd sizes are rounded down.</summary>
internal sealed class VaeDownsampler : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> conv;

    public VaeDownsampler(int channels, LayerFactory layers) : base(nameof(VaeDownsampler))
    {
        conv = layers.Conv2d(channels, channels, 3, stride: 2);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var padded = functional.pad(x, (0, 1, 0, 1));
        return conv.call(padded);
    }
}

/// <summary>Doubles a feature map by nearest neighbour.</summary>
internal sealed class VaeUpsampler : Module<Tensor, Tensor>
{
    private static readonly double[] Twice = [2, 2];
    private readonly Module<Tensor, Tensor> conv;

    public VaeUpsampler(int channels, LayerFactory layers) : base(nameof(VaeUpsampler))
    {
        conv = layers.Conv2d(channels, channels, 3, padding: 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var larger = functional.interpolate(x, scale_factor: Twice, mode: InterpolationMode.Nearest);
        return conv.call(larger);
    }
}

/// <summary>One level of the encoder: (B, in, H, W) to (B, out, H/2, W/2), or (B, out, H, W) on the last.</summary>
internal sealed class VaeDownBlock : Module<Tensor, Tensor>
{
    private readonly ModuleList<VaeResnetBlock> resnets;
    private readonly ModuleList<VaeDownsampler>? downsamplers;

    public VaeDownBlock(int level, AutoencoderKLConfig config, LayerFactory layers) : base(nameof(VaeDownBlock))
    {
        var channels = config.BlockOutChannels[level];
        var inputs = config.BlockOutChannels[Math.Max(level - 1, 0)];
        resnets = ModuleList(Enumerable.Range(0, config.LayersPerBlock)
            .Select(i => new VaeResnetBlock(i == 0 ? inputs : channels, channels, config.NormNumGroups, layers)).ToArray());
        if (level < config.Levels - 1) downsamplers = ModuleList(new VaeDownsampler(channels, layers));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        foreach (var resnet in resnets) x = resnet.call(x);
        if (downsamplers is not null) x = downsamplers[0].call(x);
        return x.MoveToOuterDisposeScope();
    }
}

/// <summary>One level of the decoder, the coarsest first: (B, in, h, w) to (B, out, 2h, 2w), or (B, out, h, w) on the last.</summary>
internal sealed class VaeUpBlock : Module<Tensor, Tensor>
{
    private readonly ModuleList<VaeResnetBlock> resnets;
    private readonly ModuleList<VaeUpsampler>? upsamplers;

    public VaeUpBlock(int index, AutoencoderKLConfig config, LayerFactory layers) : base(nameof(VaeUpBlock))
    {
        var level = config.Levels - 1 - index;
        var channels = config.BlockOutChannels[level];
        var inputs = config.BlockOutChannels[Math.Min(level + 1, config.Levels - 1)];
        resnets = ModuleList(Enumerable.Range(0, config.LayersPerBlock + 1)
            .Select(i => new VaeResnetBlock(i == 0 ? inputs : channels, channels, config.NormNumGroups, layers)).ToArray());
        if (level > 0) upsamplers = ModuleList(new VaeUpsampler(channels, layers));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        foreach (var resnet in resnets) x = resnet.call(x);
        if (upsamplers is not null) x = upsamplers[0].call(x);
        return x.MoveToOuterDisposeScope();
    }
}

/// <summary>Pixels (B, in_channels, H, W) to moments before the quant convolution (B, 2 · latent_channels, h, w).</summary>
internal sealed class VaeEncoder : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> conv_in;
    private readonly ModuleList<VaeDownBlock> down_blocks;
    private readonly VaeMidBlock mid_block;
    private readonly Module<Tensor, Tensor> conv_norm_out;
    private readonly Module<Tensor, Tensor> conv_out;

    public VaeEncoder(AutoencoderKLConfig config, LayerFactory layers) : base(nameof(VaeEncoder))
    {
        var channels = config.BlockOutChannels;
        conv_in = layers.Conv2d(config.InChannels, channels[0], 3, padding: 1);
        down_blocks = ModuleList(Enumerable.Range(0, config.Levels).Select(level => new VaeDownBlock(level, config, layers)).ToArray());
        mid_block = new VaeMidBlock(config, layers);
        conv_norm_out = layers.GroupNorm(config.NormNumGroups, channels[^1], AutoencoderKL.NormEps);
        conv_out = layers.Conv2d(channels[^1], 2 * config.LatentChannels, 3, padding: 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor pixels)
    {
        using var scope = NewDisposeScope();
        var hidden = conv_in.call(pixels);
        foreach (var block in down_blocks) hidden = block.call(hidden);
        hidden = mid_block.call(hidden);
        return NormSiluConv.Apply(conv_norm_out, conv_out, hidden).MoveToOuterDisposeScope();
    }
}

/// <summary>Latents after the post-quant convolution (B, latent_channels, h, w) to pixels (B, out_channels, H, W).</summary>
internal sealed class VaeDecoder : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> conv_in;
    private readonly VaeMidBlock mid_block;
    private readonly ModuleList<VaeUpBlock> up_blocks;
    private readonly Module<Tensor, Tensor> conv_norm_out;
    private readonly Module<Tensor, Tensor> conv_out;

    public VaeDecoder(AutoencoderKLConfig config, LayerFactory layers) : base(nameof(VaeDecoder))
    {
        var channels = config.BlockOutChannels;
        conv_in = layers.Conv2d(config.LatentChannels, channels[^1], 3, padding: 1);
        mid_block = new VaeMidBlock(config, layers);
        up_blocks = ModuleList(Enumerable.Range(0, config.Levels).Select(index => new VaeUpBlock(index, config, layers)).ToArray());
        conv_norm_out = layers.GroupNorm(config.NormNumGroups, channels[0], AutoencoderKL.NormEps);
        conv_out = layers.Conv2d(channels[0], config.OutChannels, 3, padding: 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor latents)
    {
        using var scope = NewDisposeScope();
        var hidden = mid_block.call(conv_in.call(latents));
        foreach (var block in up_blocks) hidden = block.call(hidden);
        return NormSiluConv.Apply(conv_norm_out, conv_out, hidden).MoveToOuterDisposeScope();
    }
}

/// <summary>
/// The variational autoencoder of Stable Diffusion: pixels to latents and back.
/// Its modules are named as in the published files.
/// </summary>
public sealed class AutoencoderKL : Module<Tensor, Tensor>
{
    /// <summary>Of every GroupNorm; no configuration changes it.</summary>
    internal const double NormEps = 1e-6;

    private readonly VaeEncoder encoder;
    private readonly VaeDecoder decoder;
    private readonly Module<Tensor, Tensor>? quant_conv;
    private readonly Module<Tensor, Tensor>? post_quant_conv;

    internal AutoencoderKL(AutoencoderKLConfig config, LayerFactory layers) : base(nameof(AutoencoderKL))
    {
        Config = config;
        encoder = new VaeEncoder(config, layers);
        decoder = new VaeDecoder(config, layers);
        if (config.UseQuantConv) quant_conv = layers.Conv2d(2 * config.LatentChannels, 2 * config.LatentChannels, 1);
        if (config.UsePostQuantConv) post_quant_conv = layers.Conv2d(config.LatentChannels, config.LatentChannels, 1);
        RegisterComponents();
    }

    internal AutoencoderKLConfig Config { get; }

    /// <summary>What latents a picture may have.</summary>
    /// <param name="pixels">(B, in_channels, H, W) in [-1, 1], the model's dtype; odd sizes are rounded down at every level.</param>
    /// <returns>Latents (B, latent_channels, H/f, W/f), not scaled; f = 2^(levels - 1). The caller owns it.</returns>
    internal DiagonalGaussian Encode(Tensor pixels)
    {
        using var scope = NewDisposeScope();
        var moments = encoder.call(pixels);   // (B, 2C, h, w)
        return new DiagonalGaussian(quant_conv is null ? moments : quant_conv.call(moments));
    }

    /// <summary>The picture of some latents.</summary>
    /// <param name="latents">(B, latent_channels, h, w), not scaled, the model's dtype.</param>
    /// <returns>(B, out_channels, f·h, f·w), about [-1, 1], not clipped.</returns>
    internal Tensor Decode(Tensor latents)
    {
        using var scope = NewDisposeScope();
        return decoder.call(post_quant_conv is null ? latents : post_quant_conv.call(latents)).MoveToOuterDisposeScope();
    }

    /// <summary>A picture through the most likely latents and back.</summary>
    /// <param name="pixels">As <see cref="Encode"/> takes them.</param>
    /// <returns>As <see cref="Decode"/> gives them.</returns>
    public override Tensor forward(Tensor pixels)
    {
        using var posterior = Encode(pixels);
        return Decode(posterior.Mean);
    }

    /// <summary>From the autoencoder's latents to the denoiser's: (latents - shift_factor) · scaling_factor. Any shape.</summary>
    internal Tensor Scale(Tensor latents)
    {
        using var shifted = latents.Minus(Config.ShiftFactor ?? 0);
        return shifted.Times(Config.ScalingFactor);
    }

    /// <summary>From the denoiser's latents to the autoencoder's: latents / scaling_factor + shift_factor. Any shape.</summary>
    internal Tensor Unscale(Tensor latents)
    {
        using var raw = latents.Over(Config.ScalingFactor);
        return raw.Plus(Config.ShiftFactor ?? 0);
    }

    /// <summary>The present name of a key: the attention's layers were once called query, key, value and proj_attn.</summary>
    internal static string PresentKey(string key)
    {
        foreach (var (old, present) in (ReadOnlySpan<(string, string)>)[("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")])
        {
            var at = key.IndexOf($".attentions.0.{old}.", StringComparison.Ordinal);
            if (at >= 0) return string.Concat(key.AsSpan(0, at), $".attentions.0.{present}.", key.AsSpan(at + ".attentions.0..".Length + old.Length));
        }
        return key;
    }
}
