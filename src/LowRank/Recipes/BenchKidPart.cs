using System.Globalization;
using System.Text.Json;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>What a part of the experiment is for, in the order in which they are made.</summary>
internal enum BenchKidPurpose
{
    /// <summary>Measures the time of a step.</summary>
    Time,

    /// <summary>Tries a learning rate.</summary>
    Choose,

    /// <summary>Measures the untouched base.</summary>
    Base,

    /// <summary>Trains with the chosen rate, and is judged.</summary>
    Judge,
}

/// <summary>A part of the experiment: one training, or one measure of the base, in a folder of its own.</summary>
/// <param name="Purpose">What for.</param>
/// <param name="Arm">The arm's name; empty for the base.</param>
/// <param name="Fold">Which part of the set is held out.</param>
/// <param name="Seed">Of the training.</param>
/// <param name="Rate">Learning rate; null where it is to be chosen, or nothing is trained.</param>
/// <param name="Round">Of a time: which turn.</param>
internal sealed record BenchKidPart(BenchKidPurpose Purpose, string Arm, int Fold, long Seed, double? Rate = null, int Round = 0)
{
    /// <summary>The first steps of a run are slower; they do not count as its time.</summary>
    public const int UncountedSteps = 5;

    /// <summary>What it is called, which is its folder below <c>parts</c>.</summary>
    public string Name => string.Create(CultureInfo.InvariantCulture, $"{Purpose switch
    {
        BenchKidPurpose.Time => $"time/{Arm}/round-{Round}",
        BenchKidPurpose.Choose => string.Create(CultureInfo.InvariantCulture, $"choose/{Arm}/fold-{Fold}/rate-{Rate:0.##########}"),
        BenchKidPurpose.Base => $"base/fold-{Fold}",
        _ => $"judge/{Arm}/fold-{Fold}/seed-{Seed}",
    }}");

    /// <summary>All parts of an experiment, in the order in which they are made: what measures time first, alone; what chooses before what is judged.</summary>
    public static IReadOnlyList<BenchKidPart> All(BenchKidOptions options)
    {
        var (arms, folds, first) = (BenchKidArm.All(options), Enumerable.Range(0, options.Folds).ToList(), options.Seeds[0]);
        return
        [
            .. Enumerable.Range(0, options.Timing.Rounds).SelectMany(_ => arms, (round, arm) => new BenchKidPart(BenchKidPurpose.Time, arm.Name, 0, first, arm.Rates(options).Min(), round)),
            .. from arm in arms where arm.Rates(options).Count > 1 from fold in folds from rate in arm.Rates(options) select new BenchKidPart(BenchKidPurpose.Choose, arm.Name, fold, first, rate),
            .. folds.Select(fold => new BenchKidPart(BenchKidPurpose.Base, "", fold, first)),
            .. from seed in options.Seeds from fold in folds from arm in arms select new BenchKidPart(BenchKidPurpose.Judge, arm.Name, fold, seed),
        ];
    }

    /// <summary>Its folder.</summary>
    public string Folder(BenchKidOptions options) => Path.Combine(Path.GetFullPath(options.Output), "parts", Name.Replace('/', Path.DirectorySeparatorChar));

    /// <summary>What came of it; null while it is not made.</summary>
    /// <exception cref="CheckpointException">The file cannot be read.</exception>
    public BenchKidMeasured? Measured(BenchKidOptions options)
    {
        var path = ResultPath(options);
        if (!File.Exists(path)) return null;
        try
        {
            return JsonSerializer.Deserialize<BenchKidMeasured>(File.ReadAllText(path), HubJson.Own)!;
        }
        catch (JsonException problem)
        {
            throw new CheckpointException($"what came of a part of the experiment cannot be read: {problem.Message}; in {path}\n  try         to remove the folder of the part, and --resume", problem);
        }
    }

    /// <summary>Writes what came of it: from then on it is made.</summary>
    public void Keep(BenchKidOptions options, BenchKidMeasured measured) => WholeFile.Write(ResultPath(options), JsonSerializer.SerializeToUtf8Bytes(measured, HubJson.Own));

    private string ResultPath(BenchKidOptions options) => Path.Combine(Folder(options), "part.json");
}

/// <summary>What came of a part.</summary>
internal sealed record BenchKidMeasured
{
    /// <summary>The part.</summary>
    public required string Part { get; init; }

    /// <summary>Wall time of the part; where it was resumed, of the last process.</summary>
    public required double Seconds { get; init; }

    /// <summary>The learning rate it was trained with; null where nothing was trained.</summary>
    public double? Rate { get; init; }

    /// <summary>A loss was no number: the rate is too high.</summary>
    public bool Diverged { get; init; }

    /// <summary>What was measured after so many steps, first ones first; 0 is before training.</summary>
    public IReadOnlyList<BenchKidMoment> Moments { get; init; } = [];

    /// <summary>Loss after the last step on each held-out picture of the set.</summary>
    public IReadOnlyDictionary<string, double> HeldOutPictures { get; init; } = new Dictionary<string, double>();

    /// <summary>The networks that KID was measured by: name to identity.</summary>
    public IReadOnlyDictionary<string, string> Networks { get; init; } = new Dictionary<string, string>();

    /// <summary>Seconds of each counted step, where time was measured.</summary>
    public IReadOnlyList<double> StepSeconds { get; init; } = [];

    /// <summary>Most resident memory of the process when training was over; null where time was not measured.</summary>
    public long? PeakMemoryBytes { get; init; }

    /// <summary>Numbers that were trained.</summary>
    public long TrainedNumbers { get; init; }

    /// <summary>Size of the result: the adapter's file, the token's file, or all files of the model.</summary>
    public long ResultBytes { get; init; }
}

/// <summary>What was measured after so many steps.</summary>
internal sealed record BenchKidMoment
{
    /// <summary>Updates made.</summary>
    public required int Step { get; init; }

    /// <summary>Loss on the held-out pictures of the set; null where it was not measured.</summary>
    public double? HeldOut { get; init; }

    /// <summary>Loss on the other pictures; null likewise.</summary>
    public double? Others { get; init; }

    /// <summary>KID of the pictures drawn, by network; empty where none were.</summary>
    public IReadOnlyDictionary<string, double> Kid { get; init; } = new Dictionary<string, double>();
}
