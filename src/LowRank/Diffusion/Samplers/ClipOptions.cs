using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>How the clean picture that a prediction implies is kept in range; for models of pixels. Names are those of <c>scheduler_config.json</c>.</summary>
internal record ClipOptions
{
    /// <summary>Clips at ± <see cref="ClipSampleRange"/>.</summary>
    public bool ClipSample { get; init; } = true;

    /// <summary>Largest absolute value.</summary>
    public double ClipSampleRange { get; init; } = 1;

    /// <summary>Clips at a quantile of each item's absolute values and divides by it (Saharia et al. 2022, "Imagen", section 2.3).</summary>
    public bool Thresholding { get; init; }

    /// <summary>That quantile.</summary>
    public double DynamicThresholdingRatio { get; init; } = 0.995;

    /// <summary>Largest value to clip at; the smallest is 1.</summary>
    public double SampleMaxValue { get; init; } = 1;

    /// <summary>The clipped picture (B, C, h, w); the picture itself where nothing is asked for.</summary>
    internal Tensor Clip(Tensor sample)
    {
        if (Thresholding)
        {
            var shape = new long[sample.dim()];
            Array.Fill(shape, 1);
            shape[0] = -1;
            var limit = sample.flatten(1).abs().quantile(tensor(DynamicThresholdingRatio, sample.dtype, sample.device), 1).AtLeast(1).AtMost(SampleMaxValue).reshape(shape);
            return sample.minimum(limit).maximum(-limit) / limit;
        }
        return ClipSample ? sample.Within(-ClipSampleRange, ClipSampleRange) : sample;
    }
}
