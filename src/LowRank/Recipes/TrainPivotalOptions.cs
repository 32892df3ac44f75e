using System.Globalization;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>Everything a pivotal tuning can be told: the recipe file with <c>method = "pivotal"</c>, key for key.</summary>
public sealed record TrainPivotalOptions : IRunOptions
{
    /// <summary>What is trained; this record is for <c>pivotal</c>.</summary>
    public TrainingMethod Method { get; init; } = TrainingMethod.Pivotal;

    /// <summary>The base model: <c>icons-64</c> (embedded) or a folder in the diffusers layout.</summary>
    public required string Model { get; init; }

    /// <summary>How the model's files are read. Unset: as usual.</summary>
    public ModelFileOptions? ModelFile { get; init; }

    /// <summary>Run folder; made when absent. A folder that already holds a run is refused.</summary>
    public required string Output { get; init; }

    /// <summary>Seed of every random stream. The same seed, options, data and machine give the same bytes.</summary>
    public long Seed { get; init; }

    /// <summary>What texts the pictures are learned with.</summary>
    public CaptionTemplate Template { get; init; }

    /// <summary>
    /// The norm rule of the package of 2022: after every update of the vectors each is pulled to this length by min(1, 100 · learning rate) of the way; 0 is off.
    /// The package has 0.4, which suits Stable Diffusion 1.
    /// </summary>
    public double TokenNorm { get; init; }

    /// <summary>Folders of pictures.</summary>
    public required IReadOnlyList<DataSetOptions> Data { get; init; }

    /// <summary>Prior pictures that the base draws before training. Unset: none.</summary>
    public PriorOptions? Prior { get; init; }

    /// <summary>Holes, for inpainting models. Unset: the model is none.</summary>
    public InpaintingOptions? Inpainting { get; init; }

    /// <summary>The words to learn.</summary>
    public required IReadOnlyList<LearnedTokenOptions> Tokens { get; init; }

    /// <summary>The first phase: only the words.</summary>
    public InversionOptions Inversion { get; init; } = new();

    /// <summary>What is attached to the model in the second phase.</summary>
    public AdapterOptions Adapter { get; init; } = new();

    /// <summary>What is attached to the text encoders in the second phase. Unset: nothing.</summary>
    public TextEncoderOptions? TextEncoder { get; init; }

    /// <summary>The second phase, and what both share: batch, optimizer, loss.</summary>
    public TrainingOptions Training { get; init; } = new();

    /// <summary>How far off a prediction is, and what counts how much.</summary>
    public LossOptions Loss { get; init; } = new();

    /// <summary>Noise and timesteps that are trained on.</summary>
    public NoiseOptions Noise { get; init; } = new();

    /// <summary>Pictures made while training.</summary>
    public PreviewOptions Preview { get; init; } = new();

    /// <summary>How pictures that are not trained on are measured.</summary>
    public ValidationOptions Validation { get; init; } = new();

    /// <summary>How the adapter is written.</summary>
    public SaveOptions Save { get; init; } = new();

    /// <summary>How the words are written each on its own.</summary>
    public EmbeddingSaveOptions Embeddings { get; init; } = new();

    /// <summary>Reads a recipe file.</summary>
    /// <param name="path">The TOML file. Data folders in it are relative to it; the output folder is relative to where the program runs.</param>
    /// <param name="settings"><c>key=value</c> pairs that override the file, such as <c>training.steps=500</c>.</param>
    /// <param name="output">Overrides <see cref="Output"/>.</param>
    /// <exception cref="OptionsException">Lists every problem of the recipe.</exception>
    public static TrainPivotalOptions Read(string path, IReadOnlyList<string>? settings = null, string? output = null) => RunOptions.Read<TrainPivotalOptions>(path, settings, output);

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate() =>
    [
        .. RunOptions.Problems(this, TrainingMethod.Pivotal,
        [
            .. TokenTraining.Problems(Tokens, Template, TokenNorm),
            .. Inversion.Validate().Select(problem => "inversion." + problem),
            .. Adapter.Validate().Select(problem => "adapter." + problem),
            .. (TextEncoder?.Validate(Training.Steps) ?? []).Select(problem => "text_encoder." + problem),
        ]),
        .. TokenTraining.Problems(Training, TokenNorm, withAdapter: true),
        .. RunOptions.AcrossTables(Training, Adapter),
    ];

    IReadOnlyList<string> IRunOptions.LearnedWords => [.. Tokens.Select(token => token.Token.Trim())];

    int IRunOptions.TotalSteps => Inversion.Steps + Training.Steps;

    IRunOptions IRunOptions.With(string output, IReadOnlyList<DataSetOptions> data, PriorOptions? prior) => this with { Output = output, Data = data, Prior = prior };
}

/// <summary>How the words of a pivotal tuning are learned before the adapter: the recipe's <c>[inversion]</c>.</summary>
public sealed record InversionOptions
{
    /// <summary>Updates of the words alone; 0 trains words and adapter together from the first step.</summary>
    public int Steps { get; init; } = 500;

    /// <summary>Step size of the vectors in the first phase.</summary>
    public double LearningRate { get; init; } = 5e-4;

    /// <summary>How it moves over the first phase.</summary>
    public InversionSchedule Schedule { get; init; } = InversionSchedule.Linear;

    /// <summary>Updates over which it rises from 0.</summary>
    public int WarmupSteps { get; init; }

    /// <summary>Pull of the vectors towards 0, times the learning rate.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Step size of the vectors in the second phase, with the schedule of <c>[training]</c>; 0 leaves them as they were learned, and captions are encoded once.</summary>
    public double TuningLearningRate { get; init; }

    /// <summary>The factors of the learning rate over the first phase.</summary>
    internal LearningRateSchedule MakeSchedule() => new ScheduleOptions(
        Schedule switch { InversionSchedule.Constant => LearningRateShape.Constant, InversionSchedule.Linear => LearningRateShape.Linear, _ => LearningRateShape.Cosine }, Steps, WarmupSteps).Make();

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        var usual = new InversionOptions();
        Check(Steps >= 0, $"steps: {Steps}; must be 0 (no phase of its own) or more");
        Check(LearningRate is > 0 and < double.PositiveInfinity, $"learning_rate: {LearningRate}; must be a number above 0");
        Check(WarmupSteps >= 0 && WarmupSteps <= Math.Max(Steps, 0), $"warmup_steps: {WarmupSteps}; must be 0 up to the {Steps} steps of the first phase");
        Check(WeightDecay is >= 0 and < double.PositiveInfinity, $"weight_decay: {WeightDecay}; must be 0 or more");
        Check(TuningLearningRate is >= 0 and < double.PositiveInfinity, $"tuning_learning_rate: {TuningLearningRate}; must be 0 (off) or more");
        Check(Steps != 0 || TuningLearningRate > 0, $"steps: 0; nothing would learn the words: give them steps of their own, or tuning_learning_rate to train them with the adapter");
        Check(Steps != 0 || (LearningRate, Schedule) == (usual.LearningRate, usual.Schedule), $"learning_rate, schedule: do nothing with steps = 0");
        return problems;
    }
}

/// <summary>Schedules of the first phase of a pivotal tuning.</summary>
public enum InversionSchedule
{
    /// <summary>The rate stays as it is.</summary>
    Constant,
    /// <summary>Falls in a straight line to 0 at the phase's last step.</summary>
    Linear,
    /// <summary>Falls along half a cosine to 0 at the phase's last step.</summary>
    Cosine,
}
