using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>A measure after so many steps.</summary>
/// <param name="Step">Updates made.</param>
/// <param name="Mean">Mean over the folds, each the mean of its seeds.</param>
/// <param name="Low">Of the trainings the lowest.</param>
/// <param name="High">The highest.</param>
/// <param name="Trainings">How many trainings.</param>
internal sealed record BenchKidPoint(int Step, double Mean, double Low, double High, int Trainings);

/// <summary>A measure of an arm over its steps.</summary>
internal sealed record BenchKidCurve(string Measure, IReadOnlyList<BenchKidPoint> Points);

/// <summary>The difference of two arms after the last step, lower being better in every measure.</summary>
/// <param name="Measure">Which.</param>
/// <param name="Arm">First arm.</param>
/// <param name="Against">Second.</param>
/// <param name="Difference">First less second: mean over the folds of the means over their seeds.</param>
/// <param name="HalfWidth">Half of the 95 % interval (Student's t over the folds).</param>
internal sealed record BenchKidDifference(string Measure, string Arm, string Against, double Difference, double HalfWidth)
{
    /// <summary>The rule: the interval does not hold 0.</summary>
    public bool ToldApart => Math.Abs(Difference) > HalfWidth;
}

/// <summary>What came of an arm.</summary>
internal sealed record BenchKidArmSummary
{
    public required string Arm { get; init; }

    /// <summary>Chosen rates, fold by fold.</summary>
    public required IReadOnlyList<double> Rates { get; init; }

    /// <summary>Whether one of them is the smallest or largest of its grid: a better one may lie outside.</summary>
    public required bool AtEdge { get; init; }

    public required long TrainedNumbers { get; init; }

    public required long ResultBytes { get; init; }

    /// <summary>Median of all turns; null where time was not measured.</summary>
    public required double? SecondsPerStep { get; init; }

    /// <summary>Most of all turns; null likewise.</summary>
    public required long? PeakMemoryBytes { get; init; }

    public required IReadOnlyList<BenchKidCurve> Curves { get; init; }
}

/// <summary>The experiment's result: <c>results.json</c>.</summary>
internal sealed record BenchKidSummary
{
    public const string HeldOut = "held-out loss", Others = "loss on other pictures";
    public const string BaseArm = "base";

    /// <summary>97.5 % points of Student's t for 1 to 9 degrees of freedom.</summary>
    private static readonly double[] StudentT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

    public required bool Quick { get; init; }

    /// <summary>The recipe as resolved, its paths those of <see cref="BenchKidOptions.Portable"/>.</summary>
    public required string Recipe { get; init; }

    /// <summary>Pictures of the set.</summary>
    public required int Pictures { get; init; }

    /// <summary>Networks by name: their identities.</summary>
    public required IReadOnlyDictionary<string, string> Networks { get; init; }

    /// <summary>The base first, then the arms as the recipe has them.</summary>
    public required IReadOnlyList<BenchKidArmSummary> Arms { get; init; }

    /// <summary>Each arm against the base, and each but full against full.</summary>
    public required IReadOnlyList<BenchKidDifference> Differences { get; init; }

    /// <summary>Measures, KID first.</summary>
    public IReadOnlyList<string> Measures() => [.. Networks.Keys.Select(KidOf), HeldOut, .. Arms[0].Curves.Any(curve => curve.Measure == Others) ? [Others] : (string[])[]];

    /// <summary>What the KID by a network is called.</summary>
    public static string KidOf(string network) => $"KID ({network})";

    /// <summary>The last point of an arm's curve; null where it has none.</summary>
    public static BenchKidPoint? Last(BenchKidArmSummary arm, string measure) => arm.Curves.FirstOrDefault(curve => curve.Measure == measure)?.Points[^1];

    /// <summary>Puts the parts together.</summary>
    /// <param name="options">Valid.</param>
    /// <param name="pictures">Pictures of the set.</param>
    /// <exception cref="OptionsException">Parts were measured by different networks.</exception>
    public static BenchKidSummary Of(BenchKidOptions options, int pictures)
    {
        var parts = BenchKidPart.All(options).Select(part => (Part: part, Measured: part.Measured(options) ?? throw new InvalidOperationException($"{part.Name} is not made"))).ToList();
        var arms = new List<BenchKidArmSummary> { Base(parts) };
        arms.AddRange(BenchKidArm.All(options).Select(arm => OfArm(options, arm, parts)));
        return new BenchKidSummary
        {
            Quick = options.IsQuick,
            Recipe = RecipeFile.Write(options.Portable()),
            Pictures = pictures,
            Networks = SameNetworks(parts),
            Arms = arms,
            Differences = [.. Pairs(options).SelectMany(pair => DifferencesOf(options, parts, pair.Arm, pair.Against))],
        };
    }

    /// <summary>Features of two networks must never be compared, so neither are KIDs by two.</summary>
    private static IReadOnlyDictionary<string, string> SameNetworks(List<(BenchKidPart Part, BenchKidMeasured Measured)> parts)
    {
        var judged = parts.Where(item => item.Measured.Networks.Count > 0).ToList();
        var first = judged[0];
        if (judged.Find(item => !item.Measured.Networks.OrderBy(network => network.Key, StringComparer.Ordinal).SequenceEqual(first.Measured.Networks.OrderBy(network => network.Key, StringComparer.Ordinal))) is { Part: not null } other)
        {
            throw new OptionsException($"parts of the experiment were measured by different networks of features, whose KIDs cannot be compared\n  {first.Part.Name}: {Named(first.Measured)}\n  {other.Part.Name}: {Named(other.Measured)}\n  try         to remove part.json in the folders of the older ones, and --resume");
        }
        return first.Measured.Networks;

        static string Named(BenchKidMeasured measured) => string.Join("; ", measured.Networks.Values);
    }

    private static BenchKidArmSummary Base(List<(BenchKidPart Part, BenchKidMeasured Measured)> parts) => new()
    {
        Arm = BaseArm,
        Rates = [],
        AtEdge = false,
        TrainedNumbers = 0,
        ResultBytes = 0,
        SecondsPerStep = null,
        PeakMemoryBytes = null,
        Curves = Curves([.. parts.Where(item => item.Part.Purpose == BenchKidPurpose.Base)]),
    };

    private static BenchKidArmSummary OfArm(BenchKidOptions options, BenchKidArm arm, List<(BenchKidPart Part, BenchKidMeasured Measured)> parts)
    {
        var judged = parts.Where(item => item.Part.Purpose == BenchKidPurpose.Judge && item.Part.Arm == arm.Name).ToList();
        var timed = parts.Where(item => item.Part.Purpose == BenchKidPurpose.Time && item.Part.Arm == arm.Name).ToList();
        var seconds = timed.SelectMany(item => item.Measured.StepSeconds).Order().ToList();
        var rates = judged.Where(item => item.Part.Seed == options.Seeds[0]).OrderBy(item => item.Part.Fold).Select(item => item.Measured.Rate!.Value).ToList();
        var grid = arm.Rates(options);
        return new BenchKidArmSummary
        {
            Arm = arm.Name,
            Rates = rates,
            AtEdge = grid.Count > 1 && rates.Exists(rate => rate == grid.Min() || rate == grid.Max()),
            TrainedNumbers = judged[0].Measured.TrainedNumbers,
            ResultBytes = judged[0].Measured.ResultBytes,
            SecondsPerStep = seconds.Count == 0 ? null : seconds[seconds.Count / 2],
            PeakMemoryBytes = timed.Max(item => item.Measured.PeakMemoryBytes),
            Curves = Curves(judged),
        };
    }

    /// <summary>All measures at all steps at which some training has them.</summary>
    private static IReadOnlyList<BenchKidCurve> Curves(List<(BenchKidPart Part, BenchKidMeasured Measured)> parts)
    {
        var values = parts.SelectMany(item => item.Measured.Moments.SelectMany(moment => ValuesOf(moment).Select(value => (item.Part.Fold, moment.Step, value.Measure, value.Value)))).ToList();
        return [.. values.GroupBy(value => value.Measure).Select(measure => new BenchKidCurve(measure.Key,
        [
            .. measure.GroupBy(value => value.Step).OrderBy(step => step.Key).Select(step => new BenchKidPoint(step.Key,
                step.GroupBy(value => value.Fold).Average(fold => fold.Average(value => value.Value)), step.Min(value => value.Value), step.Max(value => value.Value), step.Count())),
        ]))];
    }

    private static IEnumerable<(string Measure, double Value)> ValuesOf(BenchKidMoment moment)
    {
        foreach (var (network, kid) in moment.Kid) yield return (KidOf(network), kid);
        if (moment.HeldOut is { } loss) yield return (HeldOut, loss);
        if (moment.Others is { } others) yield return (Others, others);
    }

    private static IEnumerable<(string Arm, string Against)> Pairs(BenchKidOptions options)
    {
        foreach (var arm in options.Arms) yield return (arm, BaseArm);
        if (!options.Arms.Contains("full")) yield break;
        foreach (var arm in options.Arms.Where(arm => arm != "full")) yield return (arm, "full");
    }

    /// <summary>
    /// Paired by fold: the mean over the seeds in each, then the difference, then mean and interval over the folds. Seeds of a fold share their test pictures, so that
    /// the folds, not the trainings, are what is counted.
    /// </summary>
    private static IEnumerable<BenchKidDifference> DifferencesOf(BenchKidOptions options, List<(BenchKidPart Part, BenchKidMeasured Measured)> parts, string arm, string against)
    {
        var (first, second) = (LastByFold(parts, arm), LastByFold(parts, against));
        foreach (var measure in first.Keys.Where(second.ContainsKey))
        {
            var differences = Enumerable.Range(0, options.Folds).Select(fold => first[measure][fold] - second[measure][fold]).ToList();
            yield return new BenchKidDifference(measure, arm, against, differences.Average(), HalfWidth(differences));
        }
    }

    /// <summary>By measure the value after the last step in each fold, mean over its seeds.</summary>
    private static Dictionary<string, IReadOnlyList<double>> LastByFold(List<(BenchKidPart Part, BenchKidMeasured Measured)> parts, string arm) =>
        parts.Where(item => arm == BaseArm ? item.Part.Purpose == BenchKidPurpose.Base : item.Part.Purpose == BenchKidPurpose.Judge && item.Part.Arm == arm)
            .SelectMany(item => ValuesOf(item.Measured.Moments[^1]).Select(value => (item.Part.Fold, value.Measure, value.Value)))
            .GroupBy(value => value.Measure)
            .ToDictionary(measure => measure.Key, measure => (IReadOnlyList<double>)[.. measure.GroupBy(value => value.Fold).OrderBy(fold => fold.Key).Select(fold => fold.Average(value => value.Value))]);

    /// <summary>Half of the 95 % interval of a mean.</summary>
    /// <param name="values">2 to 10.</param>
    internal static double HalfWidth(IReadOnlyList<double> values)
    {
        var mean = values.Average();
        var deviation = Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1));
        return StudentT[values.Count - 2] * deviation / Math.Sqrt(values.Count);
    }
}
