using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>How often timesteps are drawn. Each is a distribution of a share u in [0, 1) of the range: 0 its cleanest timestep, 1 its noisiest.</summary>
public enum TimestepDistribution
{
    /// <summary>All alike.</summary>
    Uniform,
    /// <summary>u = sigmoid(mean + std · normal number): the middle more often (Esser et al. 2024).</summary>
    LogitNormal,
    /// <summary>u = 1 − v − scale(cos²(πv/2) − 1 + v) of a uniform v: the middle more often, the ends still (Esser et al. 2024).</summary>
    Mode,
    /// <summary>Density u^(alpha − 1) · (1 − u)^(beta − 1).</summary>
    Beta,
}

/// <summary>Draws training timesteps from a range of the schedule.</summary>
/// <param name="First">Smallest timestep, 0 or more.</param>
/// <param name="End">First timestep that is no longer drawn; at most T.</param>
internal sealed record TimestepSampler(int First, int End)
{
    private double[]? betaTable;

    /// <summary>How often each is drawn.</summary>
    public TimestepDistribution Distribution { get; init; } = TimestepDistribution.Uniform;

    /// <summary>Mean of <see cref="TimestepDistribution.LogitNormal"/>.</summary>
    public double LogitMean { get; init; }

    /// <summary>Deviation of <see cref="TimestepDistribution.LogitNormal"/>.</summary>
    public double LogitStd { get; init; } = 1;

    /// <summary>Scale of <see cref="TimestepDistribution.Mode"/>, 0 to 1.75.</summary>
    public double ModeScale { get; init; }

    /// <summary>First exponent of <see cref="TimestepDistribution.Beta"/>, above 0.</summary>
    public double BetaAlpha { get; init; } = 1;

    /// <summary>Second exponent of <see cref="TimestepDistribution.Beta"/>, above 0.</summary>
    public double BetaBeta { get; init; } = 1;

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
        if (Distribution == TimestepDistribution.Uniform)
        {
            using var timesteps = randint(First, End, [count], ScalarType.Int64, CPU, generator: generator);
            return timesteps.data<long>().ToArray();
        }
        using var numbers = Distribution == TimestepDistribution.LogitNormal
            ? randn(count, dtype: ScalarType.Float64, generator: generator)
            : rand(count, dtype: ScalarType.Float64, generator: generator);
        return [.. numbers.data<double>().ToArray().Select(Timestep)];
    }

    /// <summary>The timestep that a drawn number stands for.</summary>
    /// <param name="number">A normal number for <see cref="TimestepDistribution.LogitNormal"/>, else one in [0, 1).</param>
    public long Timestep(double number)
    {
        var count = End - First;
        var share = Distribution switch
        {
            TimestepDistribution.LogitNormal => 1 / (1 + Math.Exp(-(LogitMean + LogitStd * number))),
            TimestepDistribution.Mode => 1 - number - ModeScale * (Math.Pow(Math.Cos(Math.PI / 2 * number), 2) - 1 + number),
            TimestepDistribution.Beta => BetaShare(number, count),
            _ => number,
        };
        return First + Math.Clamp((int)(share * count), 0, count - 1);
    }

    /// <summary>
    /// The share below which the density has <paramref name="number"/> of its mass, each timestep's mass taken from its middle: a timestep is
    /// a whole number, so that nothing finer than a table of them is needed.
    /// </summary>
    private double BetaShare(double number, int count)
    {
        if (betaTable is null)
        {
            betaTable = new double[count];
            var sum = 0.0;
            for (var i = 0; i < count; i++)
            {
                var middle = (i + 0.5) / count;
                betaTable[i] = sum += Math.Pow(middle, BetaAlpha - 1) * Math.Pow(1 - middle, BetaBeta - 1);
            }
        }
        var found = Array.BinarySearch(betaTable, number * betaTable[^1]);
        return ((found >= 0 ? found + 1 : ~found) + 0.5) / count;
    }
}
