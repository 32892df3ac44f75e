namespace LowRank.Training;

/// <summary>Shapes of a learning-rate schedule that recipes offer. Each follows a linear warm-up from 0.</summary>
public enum LearningRateShape
{
    /// <summary>The rate stays as it is.</summary>
    Constant,
    /// <summary>Falls in a straight line to 0 at the last step.</summary>
    Linear,
    /// <summary>Falls along half a cosine to 0 at the last step.</summary>
    Cosine,
    /// <summary>Several half cosines, each from the full rate to 0.</summary>
    CosineWithRestarts,
    /// <summary>Falls along a power of the rest of the way to an end rate.</summary>
    Polynomial,
    /// <summary>Falls as 1 / √step, whatever the length of the run.</summary>
    InverseSqrt,
    /// <summary>Rises from 1/25 along a cosine, then falls along one to nearly 0. Has no other warm-up.</summary>
    OneCycle,
    /// <summary>Falls slowly at first and fast towards the end, to 0.</summary>
    Rex,
    /// <summary>Stays at the full rate, then falls along half a cosine over the last steps.</summary>
    WarmupStableDecay,
    /// <summary>Steps between stated factors.</summary>
    PiecewiseConstant,
}

/// <summary>
/// The factor on the learning rate as a pure function of the step: step number k (from 0) is made with <c>Multiplier(k)</c>.
/// With a warm-up of W steps the first W factors are 0, 1/W, 2/W, …: step 0 then moves the optimizer's moments and no weight.
/// The formulas are those of diffusers' <c>optimization.py</c>, transformers' <c>optimization.py</c> and torch's <c>OneCycleLR</c>.
/// </summary>
internal abstract record LearningRateSchedule
{
    private LearningRateSchedule() { }

    /// <summary>Steps over which the factor climbs in a straight line from 0.</summary>
    public long WarmupSteps { get; init; }

    /// <summary>The factor for step <paramref name="step"/>, from 0 up to the run's end.</summary>
    public double Multiplier(long step) => step < WarmupSteps ? Warmup((double)step / WarmupSteps) : After(step);

    private protected virtual double Warmup(double progress) => progress;

    private protected abstract double After(long step);

    /// <summary>How far <paramref name="step"/> is on the way from the end of the warm-up (0) to <paramref name="total"/> (1).</summary>
    private protected double Progress(long step, long total) => (double)(step - WarmupSteps) / Math.Max(1, total - WarmupSteps);

    /// <summary>A cosine from 1 at 0 down to 0 at 1.</summary>
    private static double HalfCosine(double progress) => 0.5 * (1 + Math.Cos(Math.PI * progress));

    /// <summary>Another schedule, which begins at step <paramref name="First"/>: that of a later phase.</summary>
    internal sealed record Later(long First, LearningRateSchedule Inner) : LearningRateSchedule
    {
        private protected override double After(long step) => Inner.Multiplier(step - First);
    }

    /// <summary>Always 1.</summary>
    internal sealed record Constant : LearningRateSchedule
    {
        private protected override double After(long step) => 1;
    }

    /// <summary>A straight line to 0 at <paramref name="Total"/>.</summary>
    internal sealed record Linear(long Total) : LearningRateSchedule
    {
        private protected override double After(long step) => Math.Max(0, (double)(Total - step) / Math.Max(1, Total - WarmupSteps));
    }

    /// <summary>A cosine of <paramref name="Cycles"/> periods; half a period falls to <paramref name="EndRatio"/> at <paramref name="Total"/>.</summary>
    internal sealed record Cosine(long Total, double Cycles = 0.5, double EndRatio = 0) : LearningRateSchedule
    {
        private protected override double After(long step) =>
            Math.Max(0, HalfCosine(2 * Cycles * Progress(step, Total)) * (1 - EndRatio) + EndRatio);
    }

    /// <summary><paramref name="Cycles"/> half cosines one after the other, each from 1 to 0; 0 from the end on.</summary>
    internal sealed record CosineWithRestarts(long Total, double Cycles) : LearningRateSchedule
    {
        private protected override double After(long step)
        {
            var progress = Progress(step, Total);
            return progress >= 1 ? 0 : Math.Max(0, HalfCosine(Cycles * progress % 1));
        }
    }

    /// <summary>(1 − progress)^<paramref name="Power"/>, from 1 to <paramref name="EndRatio"/> at <paramref name="Total"/>, which stays.</summary>
    internal sealed record Polynomial(long Total, double Power = 1, double EndRatio = 0) : LearningRateSchedule
    {
        private protected override double After(long step) =>
            step >= Total ? EndRatio : (1 - EndRatio) * Math.Pow(1 - (double)(step - WarmupSteps) / (Total - WarmupSteps), Power) + EndRatio;
    }

    /// <summary>Falls as 1/√step; <paramref name="TimeScale"/> is the step at which it would be 1 without warm-up (null: the warm-up, else 10000).</summary>
    internal sealed record InverseSqrt(long? TimeScale = null) : LearningRateSchedule
    {
        private protected override double After(long step)
        {
            var scale = TimeScale ?? (WarmupSteps > 0 ? WarmupSteps : 10000);
            return 1 / Math.Sqrt((double)(step + scale - WarmupSteps) / scale);
        }
    }

    /// <summary>1 for <paramref name="Stable"/> steps after the warm-up, then half a cosine over <paramref name="Decay"/> steps; begins and ends at <paramref name="EndRatio"/>.</summary>
    internal sealed record WarmupStableDecay(long Stable, long Decay, double EndRatio = 0) : LearningRateSchedule
    {
        private protected override double Warmup(double progress) => progress * (1 - EndRatio) + EndRatio;

        private protected override double After(long step)
        {
            var decayed = step - WarmupSteps - Stable;
            if (decayed < 0) return 1;
            return decayed < Decay ? Math.Max(0, HalfCosine((double)decayed / Decay) * (1 - EndRatio) + EndRatio) : EndRatio;
        }
    }

    /// <summary>The multiplier of the first piece whose end lies behind the step; the last piece has no end.</summary>
    internal sealed record Piecewise(IReadOnlyList<(double Multiplier, long? Until)> Pieces) : LearningRateSchedule
    {
        private protected override double After(long step) => Pieces.First(piece => piece.Until is not { } end || step < end).Multiplier;
    }

    /// <summary>Reflected exponential (Chen et al. 2021, "REX", eq. 1, with d = 0.9): falls late and fast, 0 from <paramref name="Total"/> on.</summary>
    internal sealed record Rex(long Total) : LearningRateSchedule
    {
        private protected override double After(long step)
        {
            var rest = 1 - Progress(step, Total);
            return rest <= 0 ? 0 : rest / (1 - 0.9 + 0.9 * rest);
        }
    }

    /// <summary>
    /// torch's one-cycle: a cosine from 1/<paramref name="Divisor"/> up to 1 over the part <paramref name="RisingPart"/> of the run,
    /// then one down to the start divided by <paramref name="FinalDivisor"/>.
    /// </summary>
    internal sealed record OneCycle(long Total, double RisingPart, double Divisor, double FinalDivisor) : LearningRateSchedule
    {
        private protected override double After(long step)
        {
            var (start, top) = (1 / Divisor, RisingPart * Total - 1);
            var end = start / FinalDivisor;
            var last = Total - 1;
            var at = Math.Min(step, last);
            return at <= top ? Between(start, 1, top > 0 ? at / top : 1) : Between(1, end, (at - top) / (last - top));
        }

        private static double Between(double from, double to, double progress) => to + (from - to) * HalfCosine(progress);
    }
}
