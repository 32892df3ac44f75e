using LowRank.Images;
using static TorchSharp.torch;

namespace LowRank.Data;

/// <summary>What one micro-batch will hold, before any file is read.</summary>
/// <param name="Samples">All of one size.</param>
/// <param name="State">Where the sampler stood after drawing it; null where no sampler drew it.</param>
internal sealed record PlannedBatch(IReadOnlyList<Sample> Samples, SamplerState? State);

/// <summary>What one forward pass receives: pictures of one size with their captions, in managed memory.</summary>
/// <param name="Plan">The samples, and where the sampler stood.</param>
/// <param name="Pixels">(B, 3, height, width) float32 in [-1, 1].</param>
internal sealed record Batch(PlannedBatch Plan, float[] Pixels)
{
    /// <summary>One use of a picture each.</summary>
    public IReadOnlyList<Sample> Samples => Plan.Samples;

    /// <summary>Width and height of the pictures.</summary>
    public PixelSize Size => Samples[0].Placement.Size;

    /// <summary>The texts, one a picture.</summary>
    public IReadOnlyList<string> Captions => [.. Samples.Select(sample => sample.Caption)];

    /// <summary>The pixels as a tensor that the caller owns: (B, 3, height, width) float32 on the CPU, in [-1, 1]. On the training thread only.</summary>
    public Tensor ToTensor() => tensor(Pixels, [Samples.Count, 3, Size.Height, Size.Width]);
}
