using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>
/// Everything a denoiser gets besides latents and timesteps. Owns its tensors.
/// </summary>
public sealed class Conditioning : IDisposable
{
    /// <summary>Text states (B, T, D), the model's dtype.</summary>
    public required Tensor Hidden { get; init; }

    /// <summary>Pooled text (B, P), the model's dtype; null for families without.</summary>
    public Tensor? Pooled { get; init; }

    /// <summary>SDXL's (B, 6) float32: original height, width; crop top, left; target height, width. Null for families without.</summary>
    public Tensor? TimeIds { get; init; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Hidden.Dispose();
        Pooled?.Dispose();
        TimeIds?.Dispose();
    }
}
