namespace LowRank.Diffusion;

/// <summary>What the scaled latents of many pictures are like, each channel for itself.</summary>
/// <param name="means">One for each channel.</param>
/// <param name="deviations">Standard deviations, one for each channel; above 0.</param>
public sealed class LatentStatistics(IReadOnlyList<double> means, IReadOnlyList<double> deviations)
{
    /// <summary>One for each channel.</summary>
    public IReadOnlyList<double> Means { get; } = means;

    /// <summary>Standard deviations, one for each channel.</summary>
    public IReadOnlyList<double> Deviations { get; } = deviations;

    /// <summary>Of all channels together.</summary>
    internal double Deviation
    {
        get
        {
            var mean = Means.Average();
            return Math.Sqrt(Means.Zip(Deviations, (own, deviation) => deviation * deviation + (own - mean) * (own - mean)).Average());
        }
    }
}
