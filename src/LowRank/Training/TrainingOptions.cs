using System.Globalization;

namespace LowRank.Training;

/// <summary>How long, how fast and in what precision to train: the recipe's <c>[training]</c>.</summary>
public sealed record TrainingOptions
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

    /// <summary>Update rule.</summary>
    public OptimizerKind Optimizer { get; init; } = OptimizerKind.Adamw;

    /// <summary>AdamW: decay of the mean of gradients.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>AdamW: decay of the mean of squared gradients.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>AdamW: keeps the division finite.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Pull of the weights towards 0, times the learning rate.</summary>
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>SGD: share of the last update that is kept.</summary>
    public double Momentum { get; init; } = 0.9;

    /// <summary>Longest gradient, over all adapter parameters together; longer ones are scaled down. 0 leaves them alone.</summary>
    public double MaxGradientNorm { get; init; } = 1;

    /// <summary>Caps the weight of nearly clean timesteps (Hang et al. 2023); 5 is usual, 0 is off.</summary>
    public double MinSnrGamma { get; init; }

    /// <summary>Shifts the noise of each channel by this times a normal number, so that very dark and very light pictures can be learned; 0.05 is usual, 0 is off.</summary>
    public double NoiseOffset { get; init; }

    /// <summary>First timestep that is trained, 0…999.</summary>
    public int MinTimestep { get; init; }

    /// <summary>Last timestep that is trained, 0…999.</summary>
    public int MaxTimestep { get; init; } = 999;

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
        Check(Beta1 is >= 0 and < 1, $"beta1: {Beta1}; must be 0 or more and below 1");
        Check(Beta2 is >= 0 and < 1, $"beta2: {Beta2}; must be 0 or more and below 1");
        Check(Epsilon is > 0 and < double.PositiveInfinity, $"epsilon: {Epsilon}; must be a number above 0");
        Check(WeightDecay is >= 0 and < double.PositiveInfinity, $"weight_decay: {WeightDecay}; must be 0 or more");
        Check(Momentum is >= 0 and < 1, $"momentum: {Momentum}; must be 0 or more and below 1");
        Check(MaxGradientNorm is >= 0 and < double.PositiveInfinity, $"max_gradient_norm: {MaxGradientNorm}; must be 0 (off) or more");
        Check(MinSnrGamma is >= 0 and < double.PositiveInfinity, $"min_snr_gamma: {MinSnrGamma}; must be 0 (off) or more");
        Check(NoiseOffset is >= 0 and < double.PositiveInfinity, $"noise_offset: {NoiseOffset}; must be 0 (off) or more");
        Check(MinTimestep is >= 0 && MaxTimestep <= 999 && MinTimestep <= MaxTimestep, $"min_timestep: {MinTimestep} to max_timestep {MaxTimestep}; must be a range within 0 to 999");
        Check(ClipSkip >= 1, $"clip_skip: {ClipSkip}; must be 1 (the last layer) or more");
        Check(SaveEvery >= 0, $"save_every: {SaveEvery}; must be 0 (only at the end) or more");
        Check(Keep >= 1, $"keep: {Keep}; must be 1 or more");
        CheckCombinations(Check);
        Check(CacheFolder is null || Cache == CacheKind.Disk, $"cache_folder: {CacheFolder}; does nothing without cache = \"disk\"");
        CheckCombinations(Check);
        Check(CacheFolder is null || CacheFolder.Trim().Length > 0, $"cache_folder: empty; must be a folder");
        return problems;
    }

    private delegate void Checking(bool good, FormattableString problem);

    /// <summary>A value that was set for a rule or schedule that is not in use would do nothing, and nobody would know.</summary>
    private void CheckCombinations(Checking check)
    {
        var usual = new TrainingOptions();
        check(Schedule == LearningRateShape.CosineWithRestarts || Cycles == usual.Cycles, $"cycles: {Cycles}; does nothing without schedule = \"cosine-with-restarts\"");
        check(Schedule == LearningRateShape.Polynomial || Power == usual.Power, $"power: {Power}; does nothing without schedule = \"polynomial\"");
        check(Optimizer == OptimizerKind.Adamw || (Beta1, Beta2, Epsilon) == (usual.Beta1, usual.Beta2, usual.Epsilon), $"beta1, beta2, epsilon: do nothing without optimizer = \"adamw\"");
        check(Optimizer == OptimizerKind.Sgd || Momentum == usual.Momentum, $"momentum: {Momentum}; does nothing without optimizer = \"sgd\"");
    }

    /// <summary>The update rule of these options, with a state of zeros. The caller disposes it; the parameters stay their owner's.</summary>
    internal IOptimizer MakeOptimizer(TrainedParameters parameters) => Optimizer switch
    {
        OptimizerKind.Adamw => new AdamW(parameters, Beta1, Beta2, Epsilon),
        OptimizerKind.Sgd => new Sgd(parameters, Momentum),
        _ => throw new InvalidOperationException($"no such optimizer: {Optimizer}"),
    };

    /// <summary>The factors of the learning rate over the run.</summary>
    internal LearningRateSchedule MakeSchedule() => LearningRateSchedule.Of(Schedule, Steps, WarmupSteps, Cycles, Power);
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
    /// <summary>Stochastic gradient descent with momentum.</summary>
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
