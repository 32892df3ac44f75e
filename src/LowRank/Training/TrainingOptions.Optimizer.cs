using System.Text.Json;
using LowRank.Adapters;

namespace LowRank.Training;

/// <summary>Optimizer, schedule, groups and moving average of the options: what goes together, and the pieces made from them.</summary>
public sealed partial record TrainingOptions
{
    private const double SmallestProdigyRate = 0.01;

    private delegate void Checking(bool good, FormattableString problem);

    /// <summary>A value that was set for a rule or schedule that is not in use would do nothing, and nobody would know.</summary>
    private void CheckCombinations(Checking check)
    {
        CheckSchedule(check);
        CheckOptimizer(check);
        CheckRates(check);
        CheckAverage(check);
    }

    private void CheckSchedule(Checking check)
    {
        var usual = new TrainingOptions();
        void Only(bool set, string key, object value, params LearningRateShape[] of) =>
            check(!set || of.Contains(Schedule), $"{key}: {value}; does nothing without schedule = {Either(of)}");
        Only(Cycles != usual.Cycles, "cycles", Cycles, LearningRateShape.CosineWithRestarts);
        Only(Power != usual.Power, "power", Power, LearningRateShape.Polynomial);
        Only(MinLrRatio != usual.MinLrRatio, "min_lr_ratio", MinLrRatio, LearningRateShape.Cosine, LearningRateShape.Polynomial, LearningRateShape.WarmupStableDecay);
        Only(DecaySteps != usual.DecaySteps, "decay_steps", DecaySteps, LearningRateShape.WarmupStableDecay);
        Only(Timescale != usual.Timescale, "timescale", Timescale, LearningRateShape.InverseSqrt);
        Only(PctStart != usual.PctStart, "pct_start", PctStart, LearningRateShape.OneCycle);
        Only(StepRules != usual.StepRules, "step_rules", $"\"{StepRules}\"", LearningRateShape.PiecewiseConstant);
        check(MinLrRatio is >= 0 and < 1, $"min_lr_ratio: {MinLrRatio}; must be 0 or more and below 1");
        check(DecaySteps >= 0 && (DecaySteps == 0 || DecaySteps <= Steps - WarmupSteps), $"decay_steps: {DecaySteps}; must be 0 (a tenth of the run) up to the {Steps - WarmupSteps} steps behind the warm-up");
        check(Timescale >= 0, $"timescale: {Timescale}; must be 0 (the warm-up's length) or more");
        check(PctStart is >= 0 and <= 1, $"pct_start: {PctStart}; must be 0 to 1");
        check(Schedule != LearningRateShape.OneCycle || WarmupSteps == 0, $"warmup_steps: {WarmupSteps}; one-cycle has a rise of its own: set pct_start");
        check(Schedule != LearningRateShape.PiecewiseConstant || ScheduleOptions.ReadRules(StepRules) is not null,
            $"step_rules: \"{StepRules}\"; must be factors with the steps where they end, then the last factor, such as \"1:100,0.1:200,0.01\"");
    }

    private void CheckOptimizer(Checking check)
    {
        var usual = new TrainingOptions();
        void Only(bool set, string key, object? value, params OptimizerKind[] of) =>
            check(!set || of.Contains(Optimizer), $"{key}: {(value is bool ? "true" : value)}; does nothing without optimizer = {Either(of)}");
        OptimizerKind[] adams = [OptimizerKind.Adamw, OptimizerKind.Adamw8bit, OptimizerKind.Adam, OptimizerKind.Prodigy, OptimizerKind.AdamwScheduleFree];
        Only(Beta1 is not null, "beta1", Beta1, [.. adams, OptimizerKind.Lion, OptimizerKind.Came, OptimizerKind.Adafactor]);
        Only(Beta2 is not null, "beta2", Beta2, [.. adams, OptimizerKind.Lion, OptimizerKind.Came]);
        Only(Epsilon is not null, "epsilon", Epsilon, adams);
        Only(Momentum != usual.Momentum, "momentum", Momentum, OptimizerKind.Sgd);
        Only(Nesterov, "nesterov", Nesterov, OptimizerKind.Sgd);
        Only(RelativeStep, "relative_step", RelativeStep, OptimizerKind.Adafactor);
        Only(WarmupInit, "warmup_init", WarmupInit, OptimizerKind.Adafactor);
        Only(ScaleParameter, "scale_parameter", ScaleParameter, OptimizerKind.Adafactor);
        Only(ClipThreshold != usual.ClipThreshold, "clip_threshold", ClipThreshold, OptimizerKind.Adafactor, OptimizerKind.Came);
        Only(D0 != usual.D0, "d0", D0, OptimizerKind.Prodigy);
        Only(DCoef != usual.DCoef, "d_coef", DCoef, OptimizerKind.Prodigy);
        Only(GrowthRate != usual.GrowthRate, "growth_rate", GrowthRate, OptimizerKind.Prodigy);
        Only(UseBiasCorrection, "use_bias_correction", UseBiasCorrection, OptimizerKind.Prodigy);
        Only(SafeguardWarmup, "safeguard_warmup", SafeguardWarmup, OptimizerKind.Prodigy);
        check(ClipThreshold is > 0 and < double.PositiveInfinity, $"clip_threshold: {ClipThreshold}; must be a number above 0");
        check(D0 is > 0 and < double.PositiveInfinity, $"d0: {D0}; must be a number above 0");
        check(DCoef is > 0 and < double.PositiveInfinity, $"d_coef: {DCoef}; must be a number above 0");
        check(GrowthRate > 1, $"growth_rate: {GrowthRate}; must be above 1 (inf for no limit)");
        check(!Nesterov || Momentum > 0, $"nesterov: true; does nothing with momentum = 0");
        check(!WarmupInit || RelativeStep, $"warmup_init: true; does nothing without relative_step = true");
        check(Optimizer != OptimizerKind.AdamwScheduleFree || Beta1 is not 0, $"beta1: 0; must be above 0 for adamw-schedule-free");
        check(Optimizer != OptimizerKind.AdamwScheduleFree || Schedule == LearningRateShape.Constant,
            $"schedule: {Word(Schedule)}; adamw-schedule-free takes none: set schedule = \"constant\" (warmup_steps works)");
        check(Optimizer != OptimizerKind.Prodigy || LearningRate >= SmallestProdigyRate,
            $"learning_rate: {LearningRate}; prodigy finds the rate by itself and multiplies it by this: set learning_rate = 1");
        check(!RelativeStep || (LearningRate == usual.LearningRate && Schedule == LearningRateShape.Constant && WarmupSteps == 0),
            $"relative_step: true; takes its own step sizes: leave out learning_rate and warmup_steps, and set schedule = \"constant\"");
    }

    private void CheckRates(Checking check)
    {
        check(LoraplusLrRatio is > 0 and < double.PositiveInfinity, $"loraplus_lr_ratio: {LoraplusLrRatio}; must be a number above 0");
        for (var i = 0; i < Rates.Count; i++)
        {
            check(Rates[i].LearningRate is >= 0 and < double.PositiveInfinity, $"rates[{i}].learning_rate: {Rates[i].LearningRate}; must be 0 or more");
            if (Rates[i].Pattern is { } pattern && PathPattern.ProblemOf(pattern) is { } problem) check(false, $"rates[{i}].pattern: {problem}");
        }
        var several = LoraplusLrRatio != 1 || Rates.Count > 0;
        var key = Rates.Count > 0 ? "rates" : "loraplus_lr_ratio";
        check(!several || Optimizer != OptimizerKind.Prodigy, $"{key}: prodigy has one rate for all that is trained");
        check(!several || !RelativeStep, $"{key}: does nothing with relative_step = true");
    }

    private void CheckAverage(Checking check)
    {
        var usual = new TrainingOptions();
        check(EmaDecay is >= 0 and < 1, $"ema_decay: {EmaDecay}; must be 0 (off) or more and below 1");
        check(EmaInvGamma is > 0 and < double.PositiveInfinity, $"ema_inv_gamma: {EmaInvGamma}; must be a number above 0");
        check(EmaPower is > 0 and < double.PositiveInfinity, $"ema_power: {EmaPower}; must be a number above 0");
        check(EmaMinDecay is >= 0 and < 1, $"ema_min_decay: {EmaMinDecay}; must be 0 or more and below 1");
        check(EmaStart >= 0, $"ema_start: {EmaStart}; must be 0 or more");
        var set = (EmaWarmup, EmaInvGamma, EmaPower, EmaMinDecay, EmaStart) != (usual.EmaWarmup, usual.EmaInvGamma, usual.EmaPower, usual.EmaMinDecay, usual.EmaStart);
        check(EmaDecay > 0 || !set, $"ema_warmup, ema_inv_gamma, ema_power, ema_min_decay, ema_start: do nothing without ema_decay");
        if (EmaDecay == 0) return;
        var power = (EmaInvGamma, EmaPower) != (usual.EmaInvGamma, usual.EmaPower);
        check(EmaWarmup == AverageWarmup.Power || !power, $"ema_inv_gamma, ema_power: do nothing without ema_warmup = \"power\"");
        check(EmaWarmup != AverageWarmup.None || EmaMinDecay == 0, $"ema_min_decay: {EmaMinDecay}; does nothing with ema_warmup = \"none\"");
        check(Optimizer != OptimizerKind.AdamwScheduleFree, $"ema_decay: {EmaDecay}; adamw-schedule-free keeps an average by itself");
    }

    /// <summary>What the options say of rates, for sorting what is trained into groups.</summary>
    internal ParameterRates ParameterRates => new(LearningRate, WeightDecay, LoraplusLrRatio, Rates);

    /// <summary>The update rule of these options, with a fresh state. The caller disposes it; the parameters stay their owner's.</summary>
    internal IOptimizer MakeOptimizer(TrainedParameters parameters)
    {
        var (beta1, beta2, epsilon) = (Beta1 ?? 0.9, Beta2 ?? (Optimizer == OptimizerKind.Lion ? 0.99 : 0.999), Epsilon ?? 1e-8);
        return Optimizer switch
        {
            OptimizerKind.Adamw => new AdamW(parameters, beta1, beta2, epsilon),
            OptimizerKind.Adamw8bit => new AdamW8bit(parameters, beta1, beta2, epsilon),
            OptimizerKind.Adam => new AdamW(parameters, beta1, beta2, epsilon, decoupled: false),
            OptimizerKind.Lion => new Lion(parameters, beta1, beta2),
            OptimizerKind.Adafactor => new Adafactor(parameters, new AdafactorRule(RelativeStep, WarmupInit, ScaleParameter, ClipThreshold, Beta1)),
            OptimizerKind.Came => new Came(parameters, beta1, beta2, ClipThreshold),
            OptimizerKind.Prodigy => new Prodigy(parameters, new ProdigyRule(beta1, beta2, epsilon, D0, DCoef, GrowthRate, UseBiasCorrection, SafeguardWarmup)),
            OptimizerKind.AdamwScheduleFree => new ScheduleFreeAdamW(parameters, beta1, beta2, epsilon, WarmupSteps),
            OptimizerKind.Sgd => new Sgd(parameters, Momentum, Nesterov),
            _ => throw new InvalidOperationException($"no such optimizer: {Optimizer}"),
        };
    }

    /// <summary>How often and how far a loop steps.</summary>
    /// <param name="lastStep">Where it ends.</param>
    internal TrainingLoopOptions LoopOptions(long lastStep) => new(lastStep, Accumulation, MaxGradientNorm, LossScale > 0 ? new LossScaleRule(LossScale, LossScaleGrowthInterval) : null);

    /// <summary>The factors of the learning rate over the run. Schedule-free training warms up by itself.</summary>
    internal LearningRateSchedule MakeSchedule() =>
        new ScheduleOptions(Schedule, Steps, Optimizer == OptimizerKind.AdamwScheduleFree ? 0 : WarmupSteps)
        {
            Cycles = Cycles,
            Power = Power,
            EndRatio = MinLrRatio,
            DecaySteps = DecaySteps > 0 ? DecaySteps : Math.Min(Math.Max(1, Steps / 10), Steps - WarmupSteps),
            TimeScale = Timescale,
            RisingPart = PctStart,
            StepRules = StepRules,
        }.Make();

    /// <summary>The moving average of these options, beginning where the parameters are; null when there is none. The caller disposes it.</summary>
    internal MovingAverage? MakeAverage(TrainedParameters parameters) =>
        EmaDecay == 0 ? null : new MovingAverage(parameters, new MovingAverageRule(EmaDecay, EmaWarmup, EmaInvGamma, EmaPower, EmaMinDecay, EmaStart));

    /// <summary>Bytes of a saved state for each trained number: itself, the optimizer's, and the average. An upper bound.</summary>
    internal long StateBytesPerNumber() => 4 + (EmaDecay > 0 ? 4 : 0) + Optimizer switch
    {
        OptimizerKind.Prodigy => 16,
        OptimizerKind.Adafactor => Beta1 is null ? 8 : 12,   // factors of (n, 1) are n + 1 numbers
        OptimizerKind.Came => 20,
        OptimizerKind.Lion or OptimizerKind.Sgd => 4,
        _ => 8,
    };

    private static string Either<T>(IEnumerable<T> words) where T : struct, Enum
    {
        var quoted = words.Select(word => $"\"{Word(word)}\"").ToList();
        return quoted.Count == 1 ? quoted[0] : $"{string.Join(", ", quoted.SkipLast(1))} or {quoted[^1]}";
    }

    private static string Word<T>(T word) where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(word.ToString());
}
