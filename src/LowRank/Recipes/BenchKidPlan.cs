using System.Globalization;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>An arm in a plan.</summary>
public sealed class BenchKidArmPlan
{
    internal BenchKidArmPlan(string arm, TrainingPlan plan, double share)
    {
        (Arm, TrainedNumbers, ResultBytes) = (arm, (long)(plan.Parameters * share), (long)(plan.AdapterBytes * share));
        (MemoryBytes, SecondsPerStep) = (plan.MemoryBytes, plan.SecondsPerStep);
    }

    /// <summary>The word of the recipe.</summary>
    public string Arm { get; }

    /// <summary>Numbers that learn.</summary>
    public long TrainedNumbers { get; }

    /// <summary>Size of the result.</summary>
    public long ResultBytes { get; }

    /// <summary>Most memory a training is expected to take.</summary>
    public long MemoryBytes { get; }

    /// <summary>With all cores of this machine, from one forward pass.</summary>
    public double SecondsPerStep { get; }
}

/// <summary>What the experiment is going to do, and about what it takes on this machine.</summary>
public sealed class BenchKidPlan
{
    private BenchKidPlan() { }

    /// <summary>The base model, and what it turned out to be.</summary>
    public required string Model { get; init; }

    /// <summary>Pictures of the set.</summary>
    public required int Pictures { get; init; }

    /// <summary>Of these in the test part of the first fold; in the part that chooses rates; and learned meanwhile.</summary>
    public required (int Test, int Validation, int Learned) FirstFold { get; init; }

    /// <summary>The arms.</summary>
    public required IReadOnlyList<BenchKidArmPlan> Arms { get; init; }

    /// <summary>Trainings that choose learning rates, and trainings that are judged.</summary>
    public required (int Choosing, int Judged) Trainings { get; init; }

    /// <summary>Updates of all trainings together.</summary>
    public required long Steps { get; init; }

    /// <summary>Pictures that are drawn.</summary>
    public required long Drawn { get; init; }

    /// <summary>Forward passes of single pictures that held-out losses take.</summary>
    public required long Measured { get; init; }

    /// <summary>About how long trainings, drawing and measuring take together, all cores at work.</summary>
    public required double Seconds { get; init; }

    /// <summary>Most memory that the trainings made at a time are expected to take together.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>The plan as lines of text.</summary>
    public IReadOnlyList<(string Label, string Text)> Lines() =>
    [
        ("model", Model),
        ("pictures", Invariant($"{Pictures}; the first fold learns {FirstFold.Learned}, chooses rates by {FirstFold.Validation} and is judged by {FirstFold.Test}")),
        .. Arms.Select((arm, index) => (index == 0 ? "arms" : "", Invariant($"{arm.Arm}: {BenchKidTable.Numbers(arm.TrainedNumbers)} numbers, {BenchKidTable.Bytes(arm.ResultBytes)}; about {arm.SecondsPerStep:G2} s a step, {BenchKidTable.Bytes(arm.MemoryBytes)} of memory"))),
        ("trainings", Invariant($"{Trainings.Choosing} to choose learning rates, {Trainings.Judged} to be judged; {Steps:#,0} steps together")),
        ("drawn", Invariant($"{Drawn:#,0} pictures")),
        ("measured", Invariant($"{Measured:#,0} predictions for held-out losses")),
        ("time", Invariant($"about {Hours(Seconds)} on this machine, from one forward pass")),
        ("memory", Invariant($"about {BenchKidTable.Bytes(MemoryBytes)}")),
    ];

    /// <summary>Reckons without making anything.</summary>
    internal static BenchKidPlan Of(BenchKidOptions options, BenchKidData data)
    {
        var (arms, test) = (BenchKidArm.All(options), data.Test(0).Count);
        var parts = BenchKidPart.All(options);
        var plans = Plans(options, arms);
        var (choosing, judged) = (parts.Where(part => part.Purpose == BenchKidPurpose.Choose).ToList(), parts.Where(part => part.Purpose == BenchKidPurpose.Judge).ToList());
        var first = judged.Count(part => part.Seed == options.Seeds[0]);
        var drawn = (long)options.Draw.PerCaption * test * (options.Folds + judged.Count + first * options.MeasureAt.Count);
        var moments = arms[0].Recipe(options, new BenchKidTraining("-", 0, 1, ["-"], "-", null)) is var recipe ? options.Training.Steps / recipe.Training.SaveEvery + 1 : 0;
        var others = options.Others is { } folder ? Data.PictureFiles.Find(folder).Count : 0;
        var measured = (long)options.Validation.Timesteps.Count * ((long)choosing.Count * 2 * data.Validation(0).Count + moments * (long)judged.Count * (test + others) + options.Folds * (test + others));
        var forward = plans.First().Plan.SecondsPerForward / options.Training.BatchSize;   // of one picture
        var calls = options.Draw.Steps * (options.Draw.Guidance == 1 ? 1 : 2);
        return new BenchKidPlan
        {
            Model = $"{options.Model}: {plans[0].Plan.Family}",
            Pictures = data.Pictures.Count,
            FirstFold = (test, data.Validation(0).Count, data.Learned(0).Count),
            Arms = [.. plans.Select(item => new BenchKidArmPlan(item.Arm.Name, item.Plan, item.Share))],
            Trainings = (choosing.Count, judged.Count),
            Steps = (long)(choosing.Count + judged.Count) * options.Training.Steps + (long)options.Timing.Rounds * arms.Count * options.Timing.Steps,
            Drawn = drawn,
            Measured = measured,
            Seconds = choosing.Concat(judged).Sum(part => plans.First(item => item.Arm.Name == part.Arm).Plan.SecondsPerStep * options.Training.Steps) + (drawn * calls + measured) * forward,
            MemoryBytes = plans.Max(item => item.Plan.MemoryBytes) * options.Workers,
        };
    }

    /// <summary>A plan for each arm. LoRAs of other ranks than the largest learn in proportion, and step about as fast: only one of them is tried.</summary>
    private static List<(BenchKidArm Arm, TrainingPlan Plan, double Share)> Plans(BenchKidOptions options, IReadOnlyList<BenchKidArm> arms)
    {
        var largest = arms.Max(arm => arm.Rank);
        var tried = arms.Where(arm => arm.Rank == 0 || arm.Rank == largest).ToDictionary(arm => arm.Method, arm =>
        {
            var recipe = arm.Recipe(options, new BenchKidTraining(options.Output, 0, arm.Rates(options)[0], [options.Pictures], null, null));
            return BenchKidArm.Plan(recipe.With(options.Output, [recipe.Data[0] with { Caption = options.Caption }], null));
        });
        return [.. arms.Select(arm => (arm, tried[arm.Method], arm.Rank == 0 ? 1 : (double)arm.Rank / largest))];
    }

    private static string Hours(double seconds) => seconds < 5400 ? Invariant($"{seconds / 60:0} min") : Invariant($"{seconds / 3600:#,0.0} h");

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
