using System.Diagnostics;
using LowRank.Adapters;
using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>How often and how far a step moves.</summary>
/// <param name="Steps">Updates of the whole run.</param>
/// <param name="Accumulation">Micro-batches whose mean gradient makes one update.</param>
/// <param name="MaxGradientNorm">Longest gradient over all parameters; longer ones are scaled down. 0 leaves them alone.</param>
/// <param name="LossScale">How the loss is scaled before backward; null leaves it as it is, and a gradient that is no number ends the run.</param>
internal sealed record TrainingLoopOptions(long Steps, int Accumulation = 1, double MaxGradientNorm = 0, LossScaleRule? LossScale = null);

/// <summary>Where a loop stands. With the parameters, the optimizer's state and the streams' states it says how to go on.</summary>
/// <param name="Step">Updates made.</param>
/// <param name="MicroBatches">Forward passes made.</param>
/// <param name="LossAverage">The running average behind the smoothed loss, before its correction.</param>
/// <param name="Scale">What the loss is multiplied by; null before the first step and where it is not scaled.</param>
internal readonly record struct LoopPosition(long Step = 0, long MicroBatches = 0, double LossAverage = 0, LossScale? Scale = null);

/// <summary>All numbers of one update.</summary>
/// <param name="Losses">One a micro-batch, as computed: not divided by their number.</param>
/// <param name="GradientNorm">Over all parameters together, before clipping.</param>
/// <param name="LearningRates">One a parameter group, schedule included.</param>
/// <param name="Norms">What limiting the norms of layers did; null where they are not limited.</param>
/// <param name="LeftOut">Nothing moved and the step does not count: the scaled gradient was no number.</param>
internal sealed record StepResult(IReadOnlyList<double> Losses, double GradientNorm, IReadOnlyList<double> LearningRates, LimitedNorms? Norms = null, bool LeftOut = false)
{
    /// <summary>Every picture of the step; empty where the loss says nothing of them.</summary>
    public IReadOnlyList<PictureUse> Uses { get; init; } = [];

    /// <summary>The teacher's part of the loss, mean over the micro-batches; null where there is none.</summary>
    public double? TeacherLoss { get; init; }
}

/// <summary>
/// The loop of every training: micro-batches, mean gradient, norm, clip, update, and round again. Knows no model and no file:
/// a function gives it losses, another looks in between steps. Owns nothing.
/// </summary>
/// <param name="optimizer">Moves the parameters.</param>
/// <param name="schedule">Factors of its rates.</param>
/// <param name="options">How often and how far.</param>
/// <param name="average">Follows the parameters; null for none.</param>
internal sealed class TrainingLoop(IOptimizer optimizer, LearningRateSchedule schedule, TrainingLoopOptions options, MovingAverage? average = null)
{
    // a loss of 50 steps ago still counts with 1/e
    private const double AverageDecay = 0.98;
    private const int StepsBetweenTrims = 10;

    /// <summary>Where it stands; set to go on from a saved state.</summary>
    public LoopPosition Position { get; set; }

    /// <summary>Called after every update, before anything looks at the values; null where the norms of layers are not limited.</summary>
    public Func<LimitedNorms>? LimitNorms { get; init; }

    /// <summary>Indices of the parameters without a gradient in this step; null where all have one.</summary>
    public Func<IReadOnlySet<int>?>? Absent { get; init; }

    /// <summary>What it moves.</summary>
    public TrainedParameters Parameters => optimizer.Parameters;

    /// <summary>The optimizer, for saving and restoring its state.</summary>
    public IOptimizer Optimizer => optimizer;

    /// <summary>The moving average of the parameters; null where none is kept.</summary>
    public MovingAverage? Average => average;

    /// <summary>
    /// Puts the values to save and to draw with into the parameters, until the result is disposed; then those that are trained are back, bit for bit.
    /// </summary>
    /// <param name="averaged">The moving average, where one is kept; otherwise what the optimizer says (<see cref="IOptimizer.ValuesForUse"/>).</param>
    public IDisposable UseForOutput(bool averaged)
    {
        using var own = optimizer.ValuesForUse();
        return new Borrowed(Parameters.Values, averaged && average is not null ? average.Values : own);
    }

    /// <summary>Steps until all are made or a stop is asked for.</summary>
    /// <param name="score">Gives the loss of the micro-batch with this number, counted from 0 over the whole run.</param>
    /// <param name="between">Called after every update; <see cref="Position"/> counts it already. Saves and previews are made here.</param>
    /// <param name="events">Hears of every step before <paramref name="between"/>.</param>
    /// <param name="stop">Ends the loop before its next step.</param>
    /// <returns>True when all steps are made, false when it was stopped.</returns>
    /// <exception cref="TrainingDivergedException">A loss or gradient that is no number; the parameters are those of the step before.</exception>
    public bool Run(Func<long, MicroBatchLoss> score, Action<long> between, IProgress<TrainingEvent> events, CancellationToken stop)
    {
        while (Position.Step < options.Steps)
        {
            if (stop.IsCancellationRequested) return false;
            var watch = Stopwatch.StartNew();
            var result = Step(score);
            if (result.LeftOut)
            {
                events.Report(new RunWarning(Invariant($"the gradient of step {Position.Step + 1} is no number with the loss times {Position.Scale!.Value.Factor * 2:G6}: these pictures are left out, and the factor is {Position.Scale!.Value.Factor:G6} from here")));
                continue;
            }
            var smoothed = Position.LossAverage / (1 - Math.Pow(AverageDecay, Position.Step));
            if (Position.Step % StepsBetweenTrims == 0) NativeMemory.ReturnUnused();
            events.Report(new StepFinished
            {
                Step = Position.Step,
                Steps = options.Steps,
                Loss = result.Losses.Average(),
                SmoothedLoss = smoothed,
                LearningRate = result.LearningRates[0],
                GradientNorm = result.GradientNorm,
                ScaledModules = result.Norms?.Scaled,
                Seconds = watch.Elapsed.TotalSeconds,
                MemoryBytes = Environment.WorkingSet,
                Uses = result.Uses,
                TeacherLoss = result.TeacherLoss,
            });
            between(Position.Step);
        }
        return true;
    }

    /// <summary>One update, from as many micro-batches as the options say. Leaves no tensor behind and the gradients at 0.</summary>
    /// <exception cref="TrainingDivergedException">A loss or gradient that is no number; nothing is changed then.</exception>
    public StepResult Step(Func<long, MicroBatchLoss> score)
    {
        using var scope = NewDisposeScope();
        var scale = options.LossScale is { } rule ? Position.Scale ?? new LossScale(rule.First) : (LossScale?)null;
        var (losses, items, broken, uses) = (new List<double>(), new List<string>(), new List<string>(), new List<PictureUse>());
        double? taught = null;
        for (var micro = 0; micro < options.Accumulation; micro++)
        {
            using var inner = NewDisposeScope();   // a graph is freed before the next one is built
            var scored = score(Position.MicroBatches + micro);
            scored.Loss.Times(scale?.Factor ?? 1).Over(options.Accumulation).backward();
            losses.Add(scored.Loss.item<float>());
            items.AddRange(scored.Items);
            uses.AddRange(scored.Uses ?? []);
            if (scored.TeacherLoss is { } part) taught = (taught ?? 0) + (double)part / options.Accumulation;
            broken.AddRange(scored.Items.Where((_, item) => !float.IsFinite(scored.PerItem[item])));
        }
        if (scale is { } factor) Parameters.ScaleGradients(1 / factor.Factor);
        var norm = Parameters.GradientNorm();
        var multiplier = schedule.Multiplier(Position.Step);
        var rates = optimizer.Rates(multiplier).Select((rate, group) => Parameters.Groups[group].StandsStill(Position.Step) ? 0 : rate).ToArray();
        var after = Position.MicroBatches + options.Accumulation;
        if (!double.IsFinite(norm) || !losses.TrueForAll(double.IsFinite))
        {
            Parameters.ClearGradients();
            Absent?.Invoke();
            if (scale?.Smaller() is not { } smaller) throw new TrainingDivergedException(Position.Step + 1, losses.Average(), norm, rates[0], broken.Count > 0 ? broken : items);
            Position = Position with { MicroBatches = after, Scale = smaller };
            return new StepResult(losses, norm, rates, LeftOut: true);
        }
        if (options.MaxGradientNorm > 0) Parameters.ClipGradients(norm, options.MaxGradientNorm);
        optimizer.Step(multiplier, Parameters.Still(Position.Step, Absent?.Invoke()));
        var norms = LimitNorms?.Invoke();
        Parameters.ClearGradients();
        average?.Update(Position.Step + 1);
        Position = new LoopPosition(Position.Step + 1, after, AverageDecay * Position.LossAverage + (1 - AverageDecay) * losses.Average(), scale?.After(options.LossScale!));
        return new StepResult(losses, norm, rates, norms) { Uses = uses, TeacherLoss = taught };
    }

    /// <summary>Other values in a tensor for a while. Does nothing where there are none.</summary>
    private sealed class Borrowed : IDisposable
    {
        private readonly Tensor place;
        private Tensor? trained;

        public Borrowed(Tensor place, Tensor? other)
        {
            this.place = place;
            if (other is null) return;
            using var scope = NewDisposeScope();
            using var quiet = no_grad();
            trained = place.detach().clone().DetachFromDisposeScope();
            place.copy_(other);
        }

        public void Dispose()
        {
            if (trained is null) return;
            using var scope = NewDisposeScope();
            using var quiet = no_grad();
            place.copy_(trained);
            trained.Dispose();
            trained = null;
        }
    }
}
