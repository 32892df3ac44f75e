using LowRank.Foundation;
using LowRank.Images;
using static TorchSharp.torch;

namespace LowRank.Data;

/// <summary>What one micro-batch will hold, before any file is read.</summary>
/// <param name="Samples">All of one size.</param>
/// <param name="State">Where the sampler stood after drawing it; null where no sampler drew it.</param>
internal sealed record PlannedBatch(IReadOnlyList<Sample> Samples, SamplerState? State);

/// <summary>What one forward pass receives: pictures of one size with their captions, in managed memory.</summary>
/// <param name="Plan">The samples, and where the sampler stood.</param>
/// <param name="Pixels">(B, height, width, 3) bytes, as decoded: a quarter of the memory that floats would take on their way to the training thread.</param>
/// <param name="Masks">(B, height, width) bytes, white where a picture has no mask of its own; null where none has one.</param>
internal sealed record Batch(PlannedBatch Plan, byte[] Pixels, byte[]? Masks = null)
{
    /// <summary>One use of a picture each.</summary>
    public IReadOnlyList<Sample> Samples => Plan.Samples;

    /// <summary>Width and height of the pictures.</summary>
    public PixelSize Size => Samples[0].Placement.Size;

    /// <summary>The texts, one a picture.</summary>
    public IReadOnlyList<string> Captions => [.. Samples.Select(sample => sample.Caption)];

    /// <summary>The masks as a tensor that the caller owns: (B, 1, height, width) float32 on the CPU, 0 to 1; null where no picture has one. On the training thread only.</summary>
    public Tensor? MasksToTensor()
    {
        if (Masks is null) return null;
        using var scope = NewDisposeScope();
        return tensor(Masks, [Samples.Count, 1, Size.Height, Size.Width]).to(ScalarType.Float32).DivideInPlace(255).MoveToOuterDisposeScope();
    }

    /// <summary>The pixels as a tensor that the caller owns: (B, 3, height, width) float32 on the CPU, value / 127.5 - 1, so in [-1, 1]. On the training thread only.</summary>
    public Tensor ToTensor()
    {
        using var scope = NewDisposeScope();
        var bytes = tensor(Pixels, [Samples.Count, Size.Height, Size.Width, 3]);
        var planes = bytes.permute(0, 3, 1, 2).contiguous().to(ScalarType.Float32);   // (B, 3, height, width)
        return planes.DivideInPlace(127.5).SubtractInPlace(1).MoveToOuterDisposeScope();
    }
}
