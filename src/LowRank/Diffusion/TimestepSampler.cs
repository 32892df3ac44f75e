using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>Draws training timesteps, uniformly from a range of the schedule.</summary>
/// <param name="First">Smallest timestep, 0 or more.</param>
/// <param name="End">First timestep that is no longer drawn; at most T.</param>
internal sealed record TimestepSampler(int First, int End)
{
    /// <summary>Every timestep of a schedule.</summary>
    public static TimestepSampler All(NoiseSchedule schedule) => new(0, schedule.Timesteps);

    /// <summary>A range of a schedule's timesteps.</summary>
    /// <exception cref="OptionsException">An empty range, or one that leaves the schedule.</exception>
    public static TimestepSampler Range(NoiseSchedule schedule, int first, int end) => first >= 0 && end <= schedule.Timesteps && first < end
        ? new(first, end)
        : throw new OptionsException(string.Create(CultureInfo.InvariantCulture,
            $"timesteps from {first} to below {end} are no range of this model's 0 to below {schedule.Timesteps}; give a smaller start or a larger end."));

    /// <summary>Draws one timestep for each item of a micro-batch.</summary>
    /// <param name="count">How many.</param>
    /// <param name="generator">The timestep stream.</param>
    public long[] Draw(int count, Generator generator)
    {
        using var timesteps = randint(First, End, [count], ScalarType.Int64, CPU, generator: generator);
        return timesteps.data<long>().ToArray();
    }
}
