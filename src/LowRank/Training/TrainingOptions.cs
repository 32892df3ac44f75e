using System.Globalization;

namespace LowRank.Training;

/// <summary>How long, how fast and in what precision to train: the recipe's <c>[training]</c>.</summary>
public sealed partial record TrainingOptions
{
    /// <summary>Optimizer updates.</summary>
    public int Steps { get; init; } = 1000;

    /// <summary>Pictures in one forward pass. Memory grows with it.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>Forward passes whose gradients are averaged into one update: the effective batch is batch_size × this.</summary>
    public int Accumulation { get; init; } = 1;

    /// <summary>Step size at the top of the schedule. 1e-4 suits SD 1.5 to SDXL; small models take 1e-3.</summary>
    public double LearningRate { get; init; } = 1e-4;

    /// <summary>How the learning rate moves over the steps.</summary>
    public LearningRateShape Schedule { get; init; } = LearningRateShape.Cosine;

    /// <summary>Updates over which the rate rises from 0.</summary>
    public int WarmupSteps { get; init; }

    /// <summary>Restarts of <c>cosine-with-restarts</c>.</summary>
    public int Cycles { get; init; } = 1;

    /// <summary>Exponent of <c>polynomial</c>.</summary>
    public double Power { get; init; } = 1;

    /// <summary>End rate of <c>cosine</c>, <c>polynomial</c> and <c>warmup-stable-decay</c>, as a part of the full rate.</summary>
    public double MinLrRatio { get; init; }

    /// <summary>Steps of the fall of <c>warmup-stable-decay</c>; 0 for a tenth of the run.</summary>
    public int DecaySteps { get; init; }

    /// <summary>Steps until <c>inverse-sqrt</c> begins to fall noticeably; 0 for the warm-up's length, or 10000 without one.</summary>
    public int Timescale { get; init; }

    /// <summary>Part of the run over which <c>one-cycle</c> rises.</summary>
    public double PctStart { get; init; } = 0.3;

    /// <summary>Factors of <c>piecewise-constant</c>: <c>1:100,0.1:200,0.01</c> is 1 until step 100, 0.1 until step 200, then 0.01.</summary>
    public string StepRules { get; init; } = "";

    /// <summary>Update rule.</summary>
    public OptimizerKind Optimizer { get; init; } = OptimizerKind.Adamw;

    /// <summary>Decay of the mean of gradients. Unset: 0.9; for Adafactor, which then keeps none.</summary>
    public double? Beta1 { get; init; }

    /// <summary>Decay of the mean of squared gradients; for Lion that of its moment. Unset: 0.999; for Lion 0.99.</summary>
    public double? Beta2 { get; init; }

    /// <summary>Keeps the division finite. Unset: 1e-8.</summary>
    public double? Epsilon { get; init; }

    /// <summary>Pull of the weights towards 0, times the learning rate.</summary>
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>SGD: share of the last update that is kept.</summary>
    public double Momentum { get; init; } = 0.9;

    /// <summary>SGD: looks ahead along the momentum.</summary>
    public bool Nesterov { get; init; }

    /// <summary>Adafactor: its own step sizes, 1/√step and at most 0.01, in place of learning rate and schedule.</summary>
    public bool RelativeStep { get; init; }

    /// <summary>Adafactor with relative steps: begins at 1e-6 and rises by it.</summary>
    public bool WarmupInit { get; init; }

    /// <summary>Adafactor: steps in proportion to the size of each tensor's numbers.</summary>
    public bool ScaleParameter { get; init; }

    /// <summary>Adafactor and CAME: largest root mean square of a tensor's update before the rate.</summary>
    public double ClipThreshold { get; init; } = 1;

    /// <summary>Prodigy: the first estimate of the distance that the weights have to go.</summary>
    public double D0 { get; init; } = 1e-6;

    /// <summary>Prodigy: factor of its estimate; the knob to turn in place of the learning rate.</summary>
    public double DCoef { get; init; } = 1;

    /// <summary>Prodigy: largest growth of its estimate in one step.</summary>
    public double GrowthRate { get; init; } = double.PositiveInfinity;

    /// <summary>Prodigy: Adam's bias correction.</summary>
    public bool UseBiasCorrection { get; init; }

    /// <summary>Prodigy: keeps a warm-up from inflating the estimate.</summary>
    public bool SafeguardWarmup { get; init; }

    /// <summary>LoRA+ (Hayou et al. 2024): the rate of up as a multiple of that of down.</summary>
    public double LoraplusLrRatio { get; init; } = 1;

    /// <summary>Other learning rates for parts of the model, blocks or layers. The first pattern that matches decides.</summary>
    public IReadOnlyList<LearningRateOverride> Rates { get; init; } = [];

    /// <summary>Share of the moving average of the weights that stays at an update; 0 keeps no average.</summary>
    public double EmaDecay { get; init; }

    /// <summary>How that share grows over the first updates.</summary>
    public AverageWarmup EmaWarmup { get; init; } = AverageWarmup.Ratio;

    /// <summary>With <c>ema_warmup = "power"</c>: updates are divided by it.</summary>
    public double EmaInvGamma { get; init; } = 1;

    /// <summary>With <c>ema_warmup = "power"</c>: the exponent.</summary>
    public double EmaPower { get; init; } = 2.0 / 3;

    /// <summary>Smallest share while it grows.</summary>
    public double EmaMinDecay { get; init; }

    /// <summary>Updates before the average begins; until then it is a copy.</summary>
    public int EmaStart { get; init; }

    /// <summary>Longest gradient, over all adapter parameters together; longer ones are scaled down. 0 leaves them alone.</summary>
    public double MaxGradientNorm { get; init; } = 1;

    /// <summary>
    /// Factor of the loss at the start of the run, for half precision; it doubles after <see cref="LossScaleGrowthInterval"/> good steps and halves where the gradient
    /// is no number, which leaves that step out instead of ending the run. 0 scales nothing.
    /// </summary>
    public double LossScale { get; init; }

    /// <summary>Good steps in a row after which the factor of the loss doubles.</summary>
    public int LossScaleGrowthInterval { get; init; } = 2000;

    /// <summary>Arithmetic of the frozen model; adapters always train in fp32.</summary>
    public Precision Precision { get; init; } = Precision.Fp32;

    /// <summary>
    /// Which layer of the text encoders the denoiser reads, counted from the end as trainers and web UIs count: 1 the last (for SDXL the one before, as
    /// the model was made), 2 the one before that. Models that were trained with 2 want 2.
    /// </summary>
    public int ClipSkip { get; init; } = 1;

    /// <summary>Keeps only the inputs of each block for backward, and computes the blocks again there: far less memory, about a third more time, the same result.</summary>
    public bool GradientCheckpointing { get; init; }

    /// <summary>Saves adapter and state every so many updates; 0 only at the end.</summary>
    public int SaveEvery { get; init; } = 500;

    /// <summary>How many of the saved adapters stay on disk, the newest.</summary>
    public int Keep { get; init; } = 3;

    /// <summary>Where encoded pictures and captions wait between epochs.</summary>
    public CacheKind Cache { get; init; } = CacheKind.Memory;

    /// <summary>Folder of the cache on disk, which runs may share. Unset: within the run's own folder.</summary>
    public string? CacheFolder { get; init; }

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(Steps >= 1, $"steps: {Steps}; must be 1 or more");
        Check(BatchSize >= 1, $"batch_size: {BatchSize}; must be 1 or more");
        Check(Accumulation >= 1, $"accumulation: {Accumulation}; must be 1 or more");
        Check(LearningRate is > 0 and < double.PositiveInfinity, $"learning_rate: {LearningRate}; must be a number above 0");
        Check(WarmupSteps >= 0 && WarmupSteps <= Math.Max(Steps, 0), $"warmup_steps: {WarmupSteps}; must be 0 up to the {Steps} steps of the run");
        Check(Cycles >= 1, $"cycles: {Cycles}; must be 1 or more");
        Check(Power is > 0 and < double.PositiveInfinity, $"power: {Power}; must be a number above 0");
        Check(Beta1 is null or (>= 0 and < 1), $"beta1: {Beta1}; must be 0 or more and below 1");
        Check(Beta2 is null or (>= 0 and < 1), $"beta2: {Beta2}; must be 0 or more and below 1");
        Check(Epsilon is null or (> 0 and < double.PositiveInfinity), $"epsilon: {Epsilon}; must be a number above 0");
        Check(WeightDecay is >= 0 and < double.PositiveInfinity, $"weight_decay: {WeightDecay}; must be 0 or more");
        Check(Momentum is >= 0 and < 1, $"momentum: {Momentum}; must be 0 or more and below 1");
        Check(MaxGradientNorm is >= 0 and < double.PositiveInfinity, $"max_gradient_norm: {MaxGradientNorm}; must be 0 (off) or more");
        Check(LossScale is >= 0 and < double.PositiveInfinity, $"loss_scale: {LossScale}; must be 0 (off) or more");
        Check(LossScaleGrowthInterval >= 1, $"loss_scale_growth_interval: {LossScaleGrowthInterval}; must be 1 or more");
        Check(LossScale > 0 || LossScaleGrowthInterval == new TrainingOptions().LossScaleGrowthInterval, $"loss_scale_growth_interval: {LossScaleGrowthInterval}; does nothing without loss_scale");
        Check(ClipSkip >= 1, $"clip_skip: {ClipSkip}; must be 1 (the last layer) or more");
        Check(SaveEvery >= 0, $"save_every: {SaveEvery}; must be 0 (only at the end) or more");
        Check(Keep >= 1, $"keep: {Keep}; must be 1 or more");
        Check(CacheFolder is null || Cache == CacheKind.Disk, $"cache_folder: {CacheFolder}; does nothing without cache = \"disk\"");
        CheckCombinations(Check);
        Check(CacheFolder is null || CacheFolder.Trim().Length > 0, $"cache_folder: empty; must be a folder");
        return problems;
    }
}

/// <summary>Arithmetic of the frozen model.</summary>
public enum Precision
{
    /// <summary>32 bits.</summary>
    Fp32,
    /// <summary>16 bits with the exponent of fp32: half the memory; faster where the processor multiplies it natively.</summary>
    Bf16,
}

/// <summary>Update rules.</summary>
public enum OptimizerKind
{
    /// <summary>Adam with decoupled weight decay (Loshchilov and Hutter 2019).</summary>
    Adamw,
    /// <summary>The same with its state in 8 bits (Dettmers et al. 2022).</summary>
    Adamw8bit,
    /// <summary>Adam with the decay in the gradient (Kingma and Ba 2015).</summary>
    Adam,
    /// <summary>Sign of a mean of gradients (Chen et al. 2023).</summary>
    Lion,
    /// <summary>Adam with a factored state (Shazeer and Stern 2018).</summary>
    Adafactor,
    /// <summary>Adafactor with confidence (Luo et al. 2023).</summary>
    Came,
    /// <summary>Adam that finds its learning rate (Mishchenko and Defazio 2023).</summary>
    Prodigy,
    /// <summary>AdamW that needs no schedule (Defazio et al. 2024).</summary>
    AdamwScheduleFree,
    /// <summary>Gradient descent with momentum.</summary>
    Sgd,
}

/// <summary>Where encoded pictures and captions are kept.</summary>
public enum CacheKind
{
    /// <summary>In memory, for this run.</summary>
    Memory,
    /// <summary>In a folder as well (<see cref="TrainingOptions.CacheFolder"/>), found again by content by a later run.</summary>
    Disk,
}
