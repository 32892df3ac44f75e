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

    /// <summary>The rows of one conditioning, then those of another of the same kind. The caller owns the result.</summary>
    /// <param name="first">For A pictures.</param>
    /// <param name="second">For B pictures.</param>
    /// <returns>For A + B pictures.</returns>
    public static Conditioning Concat(Conditioning first, Conditioning second) => new()
    {
        Hidden = cat([first.Hidden, second.Hidden], 0),
        Pooled = Join(first.Pooled, second.Pooled),
        TimeIds = Join(first.TimeIds, second.TimeIds),
    };

    /// <summary>Every row <paramref name="count"/> times, copies next to each other. The caller owns the result.</summary>
    public Conditioning Repeat(int count) => new()
    {
        Hidden = Hidden.repeat_interleave(count, 0),
        Pooled = Pooled?.repeat_interleave(count, 0),
        TimeIds = TimeIds?.repeat_interleave(count, 0),
    };

    private static Tensor? Join(Tensor? first, Tensor? second)
    {
        if (first is null && second is null) return null;
        if (first is null || second is null) throw new ArgumentException("one conditioning has a part that the other lacks");
        return cat([first, second], 0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Hidden.Dispose();
        Pooled?.Dispose();
        TimeIds?.Dispose();
    }
}
