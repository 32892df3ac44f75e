using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>
/// An autoencoder whose scaled latents have mean 0 and standard deviation 1. Where it has 1×1 convolutions on either side of the latents, an affine map of
/// each channel is folded into them, and what comes out of the decoder stays as it is; without them only one factor, <c>scaling_factor</c>, can be chosen.
/// </summary>
internal static class StandardLatents
{
    /// <summary>Folds the map into the weights; does nothing where there is no convolution on both sides.</summary>
    /// <param name="weights">By key, float32; those that change are replaced.</param>
    /// <param name="config">Of the autoencoder.</param>
    /// <param name="latents">What its scaled latents are like.</param>
    public static void Fold(Dictionary<string, Tensor> weights, AutoencoderKLConfig config, LatentStatistics latents)
    {
        if (!HasConvolutions(config)) return;
        // scaled = (raw - shift) · scaling; new raw = raw · gain + offset
        var shift = config.ShiftFactor ?? 0;
        Tensor PerChannel(Func<int, double> value) => tensor([.. Enumerable.Range(0, config.LatentChannels).Select(value)], ScalarType.Float64);
        var gain = PerChannel(channel => 1 / latents.Deviations[channel]);
        var offset = PerChannel(channel => shift - (shift + latents.Means[channel] / config.ScalingFactor) / latents.Deviations[channel]);

        void Change(string name, Func<Tensor, Tensor> change) => weights[name] = change(weights[name].to(ScalarType.Float64)).to(ScalarType.Float32);
        var all = cat([gain, ones_like(gain)]);   // the rows of means, then those of logarithms of variances
        Change("quant_conv.weight", weight => weight * all.view(-1, 1, 1, 1));
        Change("quant_conv.bias", bias => (bias * all).Plus(cat([offset, gain.log().Times(2)])));
        var back = weights["post_quant_conv.weight"].to(ScalarType.Float64)[.., .., 0, 0] / gain;   // (out, in)
        Change("post_quant_conv.bias", bias => bias - back.matmul(offset));
        Change("post_quant_conv.weight", weight => weight / gain.view(1, -1, 1, 1));
    }

    /// <summary>Puts the factor into the configuration where no convolution can take the map.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="config">The same, read.</param>
    /// <param name="latents">What the scaled latents are like.</param>
    public static void Configure(string file, AutoencoderKLConfig config, LatentStatistics latents)
    {
        if (!HasConvolutions(config)) DiffusersFolder.SetKey(file, "scaling_factor", config.ScalingFactor / latents.Deviation);
    }

    private static bool HasConvolutions(AutoencoderKLConfig config) => config is { UseQuantConv: true, UsePostQuantConv: true };
}
