using System.Globalization;

namespace LowRank.Training;

/// <summary>What a recipe says of its learning-rate schedule, and the schedule it means.</summary>
/// <param name="Shape">Which.</param>
/// <param name="TotalSteps">Steps of the whole run, warm-up included.</param>
/// <param name="WarmupSteps">Of these, steps of warm-up.</param>
internal sealed record ScheduleOptions(LearningRateShape Shape, long TotalSteps, long WarmupSteps = 0)
{
    // torch's defaults
    private const double OneCycleDivisor = 25, OneCycleFinalDivisor = 1e4;

    /// <summary>Half cosines of <see cref="LearningRateShape.CosineWithRestarts"/>.</summary>
    public int Cycles { get; init; } = 1;

    /// <summary>Exponent of <see cref="LearningRateShape.Polynomial"/>.</summary>
    public double Power { get; init; } = 1;

    /// <summary>End rate of a cosine, <see cref="LearningRateShape.Polynomial"/> and <see cref="LearningRateShape.WarmupStableDecay"/>, as a part of the full rate.</summary>
    public double EndRatio { get; init; }

    /// <summary>Steps of the fall of <see cref="LearningRateShape.WarmupStableDecay"/>.</summary>
    public long DecaySteps { get; init; }

    /// <summary>Of <see cref="LearningRateShape.InverseSqrt"/>; 0 for the warm-up's length, or 10000 without one.</summary>
    public long TimeScale { get; init; }

    /// <summary>Part of the run over which <see cref="LearningRateShape.OneCycle"/> rises.</summary>
    public double RisingPart { get; init; } = 0.3;

    /// <summary>Of <see cref="LearningRateShape.PiecewiseConstant"/>, as diffusers writes them: <c>1:10,0.1:20,0.01</c>.</summary>
    public string StepRules { get; init; } = "";

    /// <summary>The schedule.</summary>
    public LearningRateSchedule Make() => Bare() with { WarmupSteps = WarmupSteps };

    /// <summary>Reads step rules: factor until step, …, and the factor of the rest.</summary>
    /// <returns>Null when the text is no such list.</returns>
    public static IReadOnlyList<(double Multiplier, long? Until)>? ReadRules(string rules)
    {
        var (pieces, parts) = (new List<(double, long?)>(), rules.Split(',', StringSplitOptions.TrimEntries));
        var before = 0L;
        for (var i = 0; i < parts.Length; i++)
        {
            var pair = parts[i].Split(':', StringSplitOptions.TrimEntries);
            if (!double.TryParse(pair[0], NumberStyles.Float, CultureInfo.InvariantCulture, out var factor) || factor is not (>= 0 and < double.PositiveInfinity)) return null;
            if (pair.Length != (i == parts.Length - 1 ? 1 : 2)) return null;
            if (pair.Length == 1)
            {
                pieces.Add((factor, null));
                continue;
            }
            if (!long.TryParse(pair[1], NumberStyles.None, CultureInfo.InvariantCulture, out var until) || until <= before) return null;
            pieces.Add((factor, before = until));
        }
        return pieces;
    }

    private LearningRateSchedule Bare() => Shape switch
    {
        LearningRateShape.Constant => new LearningRateSchedule.Constant(),
        LearningRateShape.Linear => new LearningRateSchedule.Linear(TotalSteps),
        LearningRateShape.Cosine => new LearningRateSchedule.Cosine(TotalSteps, EndRatio: EndRatio),
        LearningRateShape.CosineWithRestarts => new LearningRateSchedule.CosineWithRestarts(TotalSteps, Cycles),
        LearningRateShape.Polynomial => new LearningRateSchedule.Polynomial(TotalSteps, Power, EndRatio),
        LearningRateShape.InverseSqrt => new LearningRateSchedule.InverseSqrt(TimeScale > 0 ? TimeScale : null),
        LearningRateShape.OneCycle => new LearningRateSchedule.OneCycle(TotalSteps, RisingPart, OneCycleDivisor, OneCycleFinalDivisor),
        LearningRateShape.Rex => new LearningRateSchedule.Rex(TotalSteps),
        LearningRateShape.WarmupStableDecay => new LearningRateSchedule.WarmupStableDecay(TotalSteps - WarmupSteps - DecaySteps, DecaySteps, EndRatio),
        LearningRateShape.PiecewiseConstant => new LearningRateSchedule.Piecewise(ReadRules(StepRules) ?? throw new InvalidOperationException($"step rules that were not checked: {StepRules}")),
        _ => throw new InvalidOperationException($"no such learning-rate schedule: {Shape}"),
    };
}
