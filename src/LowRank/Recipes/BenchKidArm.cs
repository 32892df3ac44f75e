using System.Globalization;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>One training of the experiment, before it is told how.</summary>
/// <param name="Output">Its run folder.</param>
/// <param name="Seed">Of every random stream.</param>
/// <param name="Rate">The learning rate.</param>
/// <param name="Learned">Folders with the pictures to learn.</param>
/// <param name="HeldOut">Folder with pictures of the set that are only measured; null for none.</param>
/// <param name="Others">Folder with other pictures that are only measured; null for none.</param>
/// <param name="OnlyEnds">Held-out pictures are measured before the first step and after the last, and nothing is drawn with what lies between.</param>
internal sealed record BenchKidTraining(string Output, long Seed, double Rate, IReadOnlyList<string> Learned, string? HeldOut, string? Others, bool OnlyEnds = false);

/// <summary>One way to train: the word of the recipe, and the ordinary training recipe that it stands for.</summary>
/// <param name="Name">The word.</param>
/// <param name="Method">What it trains with.</param>
/// <param name="Rank">Of a LoRA; 0 for others.</param>
internal sealed record BenchKidArm(string Name, TrainingMethod Method, int Rank)
{
    /// <summary>The learned word. It stands behind every caption of the set, and in no other.</summary>
    public const string Word = "<kid>";

    private const string LoraWord = "lora-";

    /// <summary>The arms of a recipe, in its order.</summary>
    public static IReadOnlyList<BenchKidArm> All(BenchKidOptions options) => [.. options.Arms.Select(Of)];

    /// <summary>The arm that a word names.</summary>
    /// <param name="name">Valid.</param>
    public static BenchKidArm Of(string name) => name switch
    {
        "full" => new(name, TrainingMethod.Full, 0),
        "textual-inversion" => new(name, TrainingMethod.TextualInversion, 0),
        _ => new(name, TrainingMethod.Lora, RankOf(name) ?? throw new ArgumentException(ProblemOf(name), nameof(name))),
    };

    /// <summary>What is wrong with a word; null where it names an arm.</summary>
    public static string? ProblemOf(string name) =>
        name is "full" or "textual-inversion" || RankOf(name) is not null ? null : $"{name}; must be full, textual-inversion, or lora- with a rank, such as lora-4";

    /// <summary>Rates to try.</summary>
    public IReadOnlyList<double> Rates(BenchKidOptions options) => Method switch
    {
        TrainingMethod.Full => options.LearningRates.Full,
        TrainingMethod.TextualInversion => options.LearningRates.TextualInversion,
        _ => options.LearningRates.Lora,
    };

    /// <summary>What is put behind a caption of the set.</summary>
    public string Suffix => Method == TrainingMethod.TextualInversion ? Word : "";

    /// <summary>What the training recipe finds wrong with what it is told.</summary>
    public IReadOnlyList<string> Validate(BenchKidOptions options) =>
        Recipe(options, new BenchKidTraining("-", 0, Rates(options)[0], ["-"], "-", options.Others)).Validate();

    /// <summary>The ordinary recipe of a training: the same for every arm but for what learns. Streams are named, so that data order, noise and timesteps of a seed are the same too.</summary>
    public IRunOptions Recipe(BenchKidOptions options, BenchKidTraining of)
    {
        var saves = SaveEvery(options);
        var training = options.Training with { LearningRate = of.Rate, SaveEvery = saves, Keep = Math.Max(1, options.Training.Steps / saves) };
        DataSetOptions Set(string folder) => new() { Folder = folder, Suffix = Suffix };
        IReadOnlyList<DataSetOptions> data =
        [
            .. of.Learned.Select(folder => Set(folder) with { CaptionDropout = options.CaptionDropout }),
            .. of.HeldOut is { } test ? [Set(test) with { HeldOut = true }] : (DataSetOptions[])[],
            .. of.Others is { } others ? [new DataSetOptions { Folder = others, HeldOut = true }] : (DataSetOptions[])[],
        ];
        var preview = new PreviewOptions { Captions = 0 };
        var validation = of.HeldOut is null && of.Others is null ? new ValidationOptions() : options.Validation with { Every = of.OnlyEnds ? 0 : saves };
        return Method switch
        {
            TrainingMethod.Full => new TrainFullOptions { Model = options.Model, Output = of.Output, Seed = of.Seed, Data = data, Training = training, Preview = preview, Validation = validation, Save = new ModelSaveOptions { Intermediate = !of.OnlyEnds } },
            TrainingMethod.TextualInversion => new TrainTextualInversionOptions { Model = options.Model, Output = of.Output, Seed = of.Seed, Data = data, Training = training, Preview = preview, Validation = validation, Tokens = [new LearnedTokenOptions { Token = Word, Vectors = options.Word.Vectors, Init = options.Word.Init }] },
            _ => new TrainLoraOptions { Model = options.Model, Output = of.Output, Seed = of.Seed, Data = data, Training = training, Preview = preview, Validation = validation, Adapter = new AdapterOptions { Rank = Rank, Targets = options.Targets } },
        };
    }

    /// <summary>Trains by a recipe that <see cref="Recipe"/> made.</summary>
    public static TrainingResult Train(IRunOptions recipe, bool resume, IProgress<TrainingEvent>? progress, CancellationToken cancellation) => recipe switch
    {
        TrainFullOptions full => TrainFull.Run(full, progress, resume, cancellation),
        TrainTextualInversionOptions inversion => TrainTextualInversion.Run(inversion, progress, resume, cancellation),
        _ => TrainLora.Run((TrainLoraOptions)recipe, progress, resume, cancellation),
    };

    /// <summary>What it would do and cost, without writing anything.</summary>
    public static TrainingPlan Plan(IRunOptions recipe) => recipe switch
    {
        TrainFullOptions full => TrainFull.Plan(full),
        TrainTextualInversionOptions inversion => TrainTextualInversion.Plan(inversion),
        _ => TrainLora.Plan((TrainLoraOptions)recipe),
    };

    /// <summary>Steps between saves: such that every step to measure has one.</summary>
    internal static int SaveEvery(BenchKidOptions options) => options.MeasureAt.Append(options.Training.Steps).Aggregate((a, b) => (int)System.Numerics.BigInteger.GreatestCommonDivisor(a, b));

    private static int? RankOf(string name) =>
        name.StartsWith(LoraWord, StringComparison.Ordinal) && int.TryParse(name[LoraWord.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out var rank) && rank >= 1 && name == LoraWord + rank.ToString(CultureInfo.InvariantCulture) ? rank : null;
}
