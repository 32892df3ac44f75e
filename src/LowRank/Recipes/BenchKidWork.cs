using System.Diagnostics;
using System.Globalization;
using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>
/// Makes one part of the experiment: trains by an ordinary recipe in an ordinary run folder, draws, measures. What is cut off goes on where it was;
/// a part that is made is not made again.
/// </summary>
/// <param name="options">Valid.</param>
/// <param name="data">The folds, written.</param>
/// <param name="openFeatures">Opens a network of features by its name in the recipe.</param>
/// <param name="progress">Hears the events of trainings.</param>
/// <param name="cancellation">Stops after the running step or batch of pictures, with everything kept that a later call needs.</param>
internal sealed class BenchKidWork(BenchKidOptions options, BenchKidData data, Func<string, IFeatureNetwork> openFeatures, IProgress<TrainingEvent>? progress, CancellationToken cancellation)
{
    /// <summary>Makes it.</summary>
    /// <exception cref="OptionsException">Another program makes it.</exception>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public BenchKidMeasured Make(BenchKidPart part)
    {
        if (part.Measured(options) is { } made) return made;
        Directory.CreateDirectory(part.Folder(options));
        using var held = FolderLock.Take(part.Folder(options), part.Name);
        if (part.Measured(options) is { } meanwhile) return meanwhile;
        var watch = Stopwatch.StartNew();
        var measured = part.Purpose switch
        {
            BenchKidPurpose.Time => Time(part),
            BenchKidPurpose.Choose => Choose(part),
            BenchKidPurpose.Base => Base(part),
            _ => Judge(part),
        };
        measured = measured with { Seconds = watch.Elapsed.TotalSeconds };
        part.Keep(options, measured);
        if (part.Purpose is BenchKidPurpose.Choose or BenchKidPurpose.Judge && Directory.Exists(RunOf(part))) Tidy(RunOf(part), keepResult: part.Purpose == BenchKidPurpose.Judge);   // only now: what is cut off before needs it
        return measured;
    }

    /// <summary>The rate that an arm takes in a fold: of those tried the one with the lowest loss on the validation pictures, of equals the smaller one.</summary>
    /// <exception cref="OptionsException">Not all of them are tried yet.</exception>
    public static double ChosenRate(BenchKidOptions options, BenchKidPart part)
    {
        var rates = BenchKidArm.Of(part.Arm).Rates(options);
        if (rates.Count == 1) return rates[0];
        var tried = rates.Order().Select(rate => new BenchKidPart(BenchKidPurpose.Choose, part.Arm, part.Fold, options.Seeds[0], rate)).ToList();
        if (tried.Find(other => other.Measured(options) is null) is { } missing) throw new OptionsException($"{part.Name} waits for {missing.Name}, which chooses its learning rate and is not made yet\n  try         to make that first, or the whole experiment");
        double LossOf(BenchKidPart other) => other.Measured(options) is { Diverged: false } result && result.Moments[^1].HeldOut is { } loss && double.IsFinite(loss) ? loss : double.PositiveInfinity;   // the last step may be the one that diverged
        var best = tried.MinBy(LossOf)!;
        if (double.IsInfinity(LossOf(best))) throw new OptionsException($"{part.Arm} diverged with every learning rate that was tried: {string.Join(", ", rates)}\n  try         lower ones in [learning_rates]");
        return best.Rate!.Value;
    }

    /// <summary>A few steps on the training part of the first fold, for their time; of a run that was cut off nothing is used.</summary>
    private BenchKidMeasured Time(BenchKidPart part)
    {
        var run = RunOf(part);
        if (Directory.Exists(run)) Directory.Delete(run, recursive: true);
        var brief = options with { MeasureAt = [], Training = options.Training with { Steps = options.Timing.Steps, WarmupSteps = 0, DecaySteps = 0 } };
        var recipe = BenchKidArm.Of(part.Arm).Recipe(brief, new BenchKidTraining(run, part.Seed, part.Rate!.Value, [Folder(part, BenchKidData.LearnedPart), Folder(part, BenchKidData.ValidationPart)], null, null));
        var events = Train(recipe);
        var measured = Size(part, recipe, events) with
        {
            PeakMemoryBytes = Process.GetCurrentProcess().PeakWorkingSet64,
            StepSeconds = [.. events.OfType<StepFinished>().Skip(BenchKidPart.UncountedSteps).Select(step => step.Seconds)],
        };
        Directory.Delete(run, recursive: true);
        return measured;
    }

    /// <summary>Trains on two parts of the training pictures, and measures the rest of them.</summary>
    private BenchKidMeasured Choose(BenchKidPart part)
    {
        var recipe = BenchKidArm.Of(part.Arm).Recipe(options, new BenchKidTraining(RunOf(part), part.Seed, part.Rate!.Value, [Folder(part, BenchKidData.LearnedPart)], Folder(part, BenchKidData.ValidationPart), null, OnlyEnds: true));
        try
        {
            var events = Train(recipe);
            return Size(part, recipe, events) with { Moments = Losses(events, data.Validation(part.Fold).Count) };
        }
        catch (TrainingDivergedException)
        {
            return new BenchKidMeasured { Part = part.Name, Seconds = 0, Rate = part.Rate, Diverged = true };
        }
    }

    /// <summary>The base as it is: its loss, and its pictures.</summary>
    private BenchKidMeasured Base(BenchKidPart part)
    {
        var recipe = (TrainLoraOptions)BenchKidArm.Of("lora-1").Recipe(options, Judged(part, options.LearningRates.Lora[0]));
        using var family = TrainLora.Open(recipe);
        HeldOutMeasured losses;
        using (var cache = new LatentCache(null, Quiet.Events))
        using (var encoded = new EncodedData(family, RunOptions.ReadData(recipe, family, recipe.Data, cancellation), cache, ModelIdentity.Of(recipe), TextUse.Of(recipe), Quiet.Events))
        {
            encoded.EncodeAhead(cancellation, warn: false);
            losses = Validation.Of(recipe, family, encoded)!.Measure(0);
        }
        using var drawing = new BenchKidPictures(options, data.Test(part.Fold), openFeatures, cancellation);
        var kid = drawing.Kid(part.Folder(options), 0, new GenerateOptions { Model = options.Model, Prompt = "", Output = "" }, "");
        return new BenchKidMeasured
        {
            Part = part.Name,
            Seconds = 0,
            Moments = [Moment(losses, data.Test(part.Fold).Count) with { Kid = kid }],
            HeldOutPictures = Pictures(losses, data.Test(part.Fold).Count),
            Networks = drawing.Networks,
        };
    }

    /// <summary>Trains on all training pictures with the chosen rate; measures, and draws, on the test part.</summary>
    private BenchKidMeasured Judge(BenchKidPart part)
    {
        var (arm, test) = (BenchKidArm.Of(part.Arm), data.Test(part.Fold));
        var rate = ChosenRate(options, part);
        var recipe = arm.Recipe(options, Judged(part, rate));
        var events = Train(recipe);
        var moments = Losses(events, test.Count);
        using var drawing = new BenchKidPictures(options, test, openFeatures, cancellation);
        foreach (var step in part.Seed == options.Seeds[0] ? [.. options.MeasureAt.Order(), options.Training.Steps] : (int[])[options.Training.Steps])
        {
            var kid = drawing.Kid(part.Folder(options), step, Use(arm, recipe.Output, step), arm.Suffix);
            moments = [.. moments.Select(moment => moment.Step == step ? moment with { Kid = kid } : moment)];
        }
        return Size(part, recipe, events) with
        {
            Rate = rate,
            Moments = moments,
            HeldOutPictures = Pictures(events.OfType<HeldOutMeasured>().Last(), test.Count),
            Networks = drawing.Networks,
        };
    }

    private BenchKidTraining Judged(BenchKidPart part, double rate) =>
        new(RunOf(part), part.Seed, rate, [Folder(part, BenchKidData.LearnedPart), Folder(part, BenchKidData.ValidationPart)], Folder(part, BenchKidData.TestPart), options.Others);

    private string Folder(BenchKidPart part, string which) => BenchKidData.Folder(options, part.Fold, which);

    private string RunOf(BenchKidPart part) => Path.Combine(part.Folder(options), "run");

    /// <summary>Trains, or goes on, or looks at what is trained already; returns the run's log.</summary>
    private IReadOnlyList<TrainingEvent> Train(IRunOptions recipe)
    {
        var begun = File.Exists(Path.Combine(recipe.Output, "events.jsonl"));
        if (!begun && Directory.Exists(recipe.Output)) Directory.Delete(recipe.Output, recursive: true);   // killed before its log began: there is nothing in it
        if (begun) RemoveOddSaves(RunFolder.Open(recipe.Output), recipe.Training.SaveEvery);
        if (begun && RunFolder.Open(recipe.Output).ReadEvents() is var events && events.OfType<RunFinished>().Any()) return events;
        try
        {
            if (!BenchKidArm.Train(recipe, begun, progress, cancellation).Finished) throw new OperationCanceledException(cancellation);
        }
        catch (TrainingDivergedException)   // its log stays; going on would diverge again
        {
            if (File.Exists(Path.Combine(recipe.Output, "events.jsonl"))) Tidy(recipe.Output, keepResult: false);   // not where the first step did
            throw;
        }
        return RunFolder.Open(recipe.Output).ReadEvents();
    }

    /// <summary>A stop saves what it reached, which is nothing that is measured, and would push out something that is.</summary>
    private static void RemoveOddSaves(RunFolder folder, int every)
    {
        foreach (var step in folder.SavedSteps().Where(step => step % every != 0)) File.Delete(folder.SavedAdapter(step));
        var odds = Directory.GetDirectories(folder.Path, "model-*").Where(path => !long.TryParse(path.Split('-')[^1], NumberStyles.None, CultureInfo.InvariantCulture, out var step) || step % every != 0);
        foreach (var odd in odds) Directory.Delete(odd, recursive: true);
    }

    /// <summary>What a training with a result after these steps gives to draw with.</summary>
    private GenerateOptions Use(BenchKidArm arm, string run, int step)
    {
        var folder = RunFolder.Open(run);
        var plain = new GenerateOptions { Model = options.Model, Prompt = "", Output = "" };
        return arm.Method switch
        {
            TrainingMethod.Full => plain with { Model = folder.SavedModel(step) },
            TrainingMethod.TextualInversion => plain with { Embeddings = [new EmbeddingUse(folder.SavedAdapter(step))] },
            _ => plain with { Adapters = [new AdapterUse(folder.SavedAdapter(step))] },
        };
    }

    private static BenchKidMeasured Size(BenchKidPart part, IRunOptions recipe, IReadOnlyList<TrainingEvent> events)
    {
        var folder = RunFolder.Open(recipe.Output);   // the log names the place where it was made, and folders may move
        return new BenchKidMeasured
        {
            Part = part.Name,
            Seconds = 0,
            Rate = recipe.Training.LearningRate,
            TrainedNumbers = events.OfType<RunStarted>().Last().Plan.Parameters,
            ResultBytes = File.Exists(folder.Adapter) ? new FileInfo(folder.Adapter).Length : Directory.GetFiles(folder.Model, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length),
        };
    }

    /// <summary>Removes what only a resume needed, which is many times as large as the result.</summary>
    private static void Tidy(string run, bool keepResult)
    {
        var folder = RunFolder.Open(run);
        string[] folders = [folder.State, folder.TensorBoard, .. Directory.GetDirectories(folder.Path, "model-*"), .. keepResult ? (string[])[] : [folder.Model]];
        foreach (var path in folders.Where(Directory.Exists)) Directory.Delete(path, recursive: true);
        foreach (var step in folder.SavedSteps()) File.Delete(folder.SavedAdapter(step));
    }

    private static IReadOnlyList<BenchKidMoment> Losses(IReadOnlyList<TrainingEvent> events, int ofSet) =>
        [.. events.OfType<HeldOutMeasured>().DistinctBy(item => item.Step).Select(item => Moment(item, ofSet))];

    /// <summary>Held-out pictures stand in the order of the data sets: first those of the set.</summary>
    private static BenchKidMoment Moment(HeldOutMeasured measured, int ofSet) => new()
    {
        Step = (int)measured.Step,
        HeldOut = measured.Pictures.Take(ofSet).Average(picture => picture.Loss),
        Others = measured.Pictures.Count > ofSet ? measured.Pictures.Skip(ofSet).Average(picture => picture.Loss) : null,
    };

    private static Dictionary<string, double> Pictures(HeldOutMeasured measured, int ofSet) =>
        measured.Pictures.Take(ofSet).ToDictionary(picture => Path.GetFileName(picture.Picture), picture => picture.Loss);

    /// <summary>For what nobody needs to hear of.</summary>
    private sealed class Quiet : IProgress<TrainingEvent>
    {
        public static readonly Quiet Events = new();

        public void Report(TrainingEvent value) { }
    }
}
