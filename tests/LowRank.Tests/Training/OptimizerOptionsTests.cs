using LowRank.Training;

namespace LowRank.Tests.Training;

/// <summary>What the options of optimizer, schedule, rates and moving average refuse.</summary>
public class OptimizerOptionsTests
{
    public static TheoryData<TrainingOptions, string> Refused => new()
    {
        { new() { Cycles = 2 }, "cycles: 2; does nothing without schedule = \"cosine-with-restarts\"" },
        { new() { Schedule = LearningRateShape.Linear, MinLrRatio = 0.1 }, "min_lr_ratio: 0.1; does nothing without schedule = \"cosine\", \"polynomial\" or \"warmup-stable-decay\"" },
        { new() { StepRules = "1" }, "step_rules: \"1\"; does nothing without schedule = \"piecewise-constant\"" },
        { new() { Schedule = LearningRateShape.PiecewiseConstant }, "step_rules: \"\"; must be factors with the steps where they end, then the last factor, such as \"1:100,0.1:200,0.01\"" },
        { new() { Schedule = LearningRateShape.WarmupStableDecay, Steps = 100, WarmupSteps = 10, DecaySteps = 91 }, "decay_steps: 91; must be 0 (a tenth of the run) up to the 90 steps behind the warm-up" },
        { new() { Schedule = LearningRateShape.OneCycle, WarmupSteps = 5 }, "warmup_steps: 5; one-cycle has a rise of its own: set pct_start" },
        { new() { Optimizer = OptimizerKind.Sgd, Beta1 = 0.9 }, "beta1: 0.9; does nothing without optimizer = \"adamw\", \"adamw8bit\", \"adam\", \"prodigy\", \"adamw-schedule-free\", \"lion\", \"came\" or \"adafactor\"" },
        { new() { Optimizer = OptimizerKind.Lion, Epsilon = 1e-6 }, "epsilon: 1E-06; does nothing without optimizer = \"adamw\", \"adamw8bit\", \"adam\", \"prodigy\" or \"adamw-schedule-free\"" },
        { new() { Momentum = 0.5 }, "momentum: 0.5; does nothing without optimizer = \"sgd\"" },
        { new() { ScaleParameter = true }, "scale_parameter: true; does nothing without optimizer = \"adafactor\"" },
        { new() { ClipThreshold = 2 }, "clip_threshold: 2; does nothing without optimizer = \"adafactor\" or \"came\"" },
        { new() { DCoef = 2 }, "d_coef: 2; does nothing without optimizer = \"prodigy\"" },
        { new() { Optimizer = OptimizerKind.Sgd, Momentum = 0, Nesterov = true }, "nesterov: true; does nothing with momentum = 0" },
        { new() { Optimizer = OptimizerKind.Adafactor, WarmupInit = true }, "warmup_init: true; does nothing without relative_step = true" },
        { new() { Optimizer = OptimizerKind.Adafactor, RelativeStep = true }, "relative_step: true; takes its own step sizes: leave out learning_rate and warmup_steps, and set schedule = \"constant\"" },
        { new() { Optimizer = OptimizerKind.AdamwScheduleFree }, "schedule: cosine; adamw-schedule-free takes none: set schedule = \"constant\" (warmup_steps works)" },
        { new() { Optimizer = OptimizerKind.AdamwScheduleFree, Schedule = LearningRateShape.Constant, Beta1 = 0 }, "beta1: 0; must be above 0 for adamw-schedule-free" },
        { new() { Optimizer = OptimizerKind.AdamwScheduleFree, Schedule = LearningRateShape.Constant, EmaDecay = 0.9 }, "ema_decay: 0.9; adamw-schedule-free keeps an average by itself" },
        { new() { Optimizer = OptimizerKind.Prodigy }, "learning_rate: 0.0001; prodigy finds the rate by itself and multiplies it by this: set learning_rate = 1" },
        { new() { Optimizer = OptimizerKind.Prodigy, LearningRate = 1, LoraplusLrRatio = 16 }, "loraplus_lr_ratio: prodigy has one rate for all that is trained" },
        { new() { Rates = [new() { Pattern = "unet:", LearningRate = 1 }] }, "rates[0].pattern: \"unet:\" names no module; write \"unet:**\" for all of it" },
        { new() { Rates = [new() { Pattern = "unet:**", LearningRate = -1 }] }, "rates[0].learning_rate: -1; must be 0 or more" },
        { new() { LossScale = -1 }, "loss_scale: -1; must be 0 (off) or more" },
        { new() { LossScaleGrowthInterval = 5 }, "loss_scale_growth_interval: 5; does nothing without loss_scale" },
        { new() { EmaPower = 0.75 }, "ema_warmup, ema_inv_gamma, ema_power, ema_min_decay, ema_start: do nothing without ema_decay" },
        { new() { EmaDecay = 0.9, EmaPower = 0.75 }, "ema_inv_gamma, ema_power: do nothing without ema_warmup = \"power\"" },
        { new() { EmaDecay = 0.9, EmaWarmup = AverageWarmup.None, EmaMinDecay = 0.1 }, "ema_min_decay: 0.1; does nothing with ema_warmup = \"none\"" },
    };

    [Theory, MemberData(nameof(Refused))]
    public void What_would_do_nothing_or_harm_is_refused_with_what_to_set(TrainingOptions options, string problem) => Assert.Equal([problem], options.Validate());

    [Fact]
    public void Every_optimizer_of_the_tests_has_options_that_a_recipe_could_have() =>
        Assert.All(TinyTraining.Optimizers.Values, options => Assert.Empty((options with { Schedule = LearningRateShape.Constant }).Validate()));

    [Fact]
    public void A_run_of_a_few_steps_has_a_fall_of_at_least_one()
    {
        var schedule = new TrainingOptions { Steps = 4, Schedule = LearningRateShape.WarmupStableDecay }.MakeSchedule();
        Assert.Equal([1, 1, 1, 1, 0], Enumerable.Range(0, 5).Select(step => schedule.Multiplier(step)));
    }
}
