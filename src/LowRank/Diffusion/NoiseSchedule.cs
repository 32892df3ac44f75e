namespace LowRank.Diffusion;

/// <summary>How noise grows over the timesteps.</summary>
public sealed class NoiseSchedule
{
}
