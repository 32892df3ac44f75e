using System.Globalization;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

/// <summary>What a tiny training is made from.</summary>
internal sealed record TinyOptions
{
    public long Steps { get; init; } = 6;
    public int Accumulation { get; init; } = 1;
    public double Dropout { get; init; }
    public double NoiseOffset { get; init; }
    public double MaxGradientNorm { get; init; } = 1;
    public string Optimizer { get; init; } = "adamw";
    public bool Average { get; init; }
    public LossScaleRule? LossScale { get; init; }
    public long Seed { get; init; } = 5;
}

/// <summary>A whole training in miniature, put together as a recipe does: a small convolutional denoiser, an adapter, streams, loss and loop.</summary>
internal sealed class TinyTraining : IDisposable
{
    private const int Items = 2, Pictures = 5;

    private readonly nn.Module<Tensor, Tensor> denoiser = nn.Sequential(
        ("in", nn.Conv2d(4, 6, 3, padding: 1)), ("act", nn.SiLU()), ("mid", nn.Conv2d(6, 6, 1)), ("out", nn.Conv2d(6, 4, 3, padding: 1)));

    private readonly NoiseSchedule schedule = new(new NoiseScheduleOptions());
    private readonly TinyOptions options;
    private readonly AdapterSet adapter;
    private readonly IOptimizer optimizer;
    private readonly MovingAverage? average;
    private readonly DenoisingLoss loss;

    public TinyTraining(TinyOptions options)
    {
        this.options = options;
        Streams = new RandomStreams(options.Seed);
        Formula.Fill(denoiser, seed: 1);
        foreach (var parameter in denoiser.parameters()) parameter.requires_grad_(false);
        adapter = AdapterSet.Create(new Dictionary<string, nn.Module> { ["unet"] = denoiser },
            new AdapterOptions { Targets = ["all"], Rank = 2, Dropout = options.Dropout }, Streams["init"], CPU);
        adapter.DropoutStream = Streams["dropout"];
        var training = Optimizers[options.Optimizer];
        var parameters = TrainedParameters.Of(adapter, training.ParameterRates);
        optimizer = training.MakeOptimizer(parameters);
        if (options.Average) average = new MovingAverage(parameters, new MovingAverageRule(0.9));
        loss = new DenoisingLoss(schedule, PredictionType.Epsilon, new LossWeighting { MinSnrGamma = 5 }, Predict);
        Loop = new TrainingLoop(optimizer, new ScheduleOptions(LearningRateShape.Cosine, options.Steps, WarmupSteps: 2).Make(),
            new TrainingLoopOptions(options.Steps, options.Accumulation, options.MaxGradientNorm, options.LossScale), average);
    }

    /// <summary>Every optimizer, with the options that change what it keeps.</summary>
    public static IReadOnlyDictionary<string, TrainingOptions> Optimizers { get; } = new Dictionary<string, TrainingOptions>
    {
        ["adamw"] = new() { LearningRate = 1e-2 },
        ["adamw, two rates"] = new() { LearningRate = 1e-2, LoraplusLrRatio = 4 },
        ["adamw8bit"] = new() { Optimizer = OptimizerKind.Adamw8bit, LearningRate = 1e-2 },
        ["adam"] = new() { Optimizer = OptimizerKind.Adam, LearningRate = 1e-2 },
        ["lion"] = new() { Optimizer = OptimizerKind.Lion, LearningRate = 1e-2 },
        ["adafactor"] = new() { Optimizer = OptimizerKind.Adafactor, LearningRate = 1e-2, ScaleParameter = true },
        ["adafactor, relative"] = new() { Optimizer = OptimizerKind.Adafactor, RelativeStep = true, WarmupInit = true, Beta1 = 0.9 },
        ["came"] = new() { Optimizer = OptimizerKind.Came, LearningRate = 1e-2 },
        ["prodigy"] = new() { Optimizer = OptimizerKind.Prodigy, LearningRate = 1, D0 = 1e-3, GrowthRate = 1.5 },
        ["prodigy, safeguard"] = new() { Optimizer = OptimizerKind.Prodigy, LearningRate = 1, D0 = 1e-3, UseBiasCorrection = true, SafeguardWarmup = true },
        ["adamw-schedule-free"] = new() { Optimizer = OptimizerKind.AdamwScheduleFree, LearningRate = 1e-2, WarmupSteps = 3 },
        ["sgd"] = new() { Optimizer = OptimizerKind.Sgd, LearningRate = 1e-2 },
        ["sgd, plain"] = new() { Optimizer = OptimizerKind.Sgd, LearningRate = 1e-2, Momentum = 0 },
        ["sgd, nesterov"] = new() { Optimizer = OptimizerKind.Sgd, LearningRate = 1e-2, Nesterov = true },
    };

    public RandomStreams Streams { get; }

    public TrainingLoop Loop { get; }

    /// <summary>Makes the latents of a micro-batch no numbers.</summary>
    public long? BrokenMicroBatch { get; init; }

    /// <summary>Makes the gradient of a micro-batch no number, with a loss of 0.</summary>
    public long? SteepMicroBatch { get; init; }

    public MicroBatchLoss Score(long micro)
    {
        using var scope = NewDisposeScope();
        using var draw = randint(0, Pictures, [Items], ScalarType.Int64, generator: Streams["picture"]);
        var pictures = draw.data<long>().ToArray();
        var latents = cat([.. pictures.Select(picture => Formula.Noise($"latents.{picture}", [1, 4, 6, 6], 9))]);
        if (micro == BrokenMicroBatch) latents[0] = float.NaN;
        using var conditioning = new Conditioning { Hidden = zeros(Items, 1, 1) };
        var drawn = new StepNoise(new NoiseOptions { NoiseOffset = options.NoiseOffset }, schedule, Streams).Draw(latents);
        var scored = loss.Of(latents, conditioning, drawn.Noise, drawn.Timesteps, [.. pictures.Select(picture => string.Create(CultureInfo.InvariantCulture, $"picture {picture}.png"))]);
        if (micro == SteepMicroBatch) scored = scored with { Loss = scored.Loss.Times(0).sqrt() };
        scored.Loss.MoveToOuterDisposeScope();
        return scored;
    }

    /// <summary>Steps until this many are made.</summary>
    public void StepTo(long step)
    {
        while (Loop.Position.Step < step) Loop.Step(Score);
    }

    public TrainingState State(IReadOnlyDictionary<string, string>? named = null) =>
        TrainingState.Of(Loop, Streams.Save(), new SamplerState(1, 2, Loop.Position.MicroBatches, [1], [2], [3]), named ?? new Dictionary<string, string>());

    public void Dispose()
    {
        optimizer.Dispose();
        average?.Dispose();
        adapter.Dispose();
        Streams.Dispose();
        denoiser.Dispose();
    }

    private Tensor Predict(Tensor latents, Tensor timesteps, Conditioning conditioning) => denoiser.call(latents);
}
