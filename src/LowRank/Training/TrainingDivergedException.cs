using System.Globalization;
using LowRank.Foundation;

namespace LowRank.Training;

/// <summary>The loss or its gradient is no number any more. Nothing was changed by the step that found it: the adapter is that of the step before.</summary>
public sealed class TrainingDivergedException : LowRankException
{
    internal TrainingDivergedException(long step, double loss, double gradientNorm, double learningRate, IReadOnlyList<string> items) : base(string.Create(
        CultureInfo.InvariantCulture,
        $"""
        training diverged at step {step}: loss {loss}, gradient norm {gradientNorm}
          items     {(items.Count == 0 ? "none named" : string.Join(", ", items))}
          kept      {(step == 1 ? "nothing: it was the first step" : $"the adapter of step {step - 1}; nothing of step {step} was applied")}
          try       a lower learning rate (it was {learningRate:G4}), gradient clipping, or a look at these items
        """)) => (Step, Items) = (step, items);

    /// <summary>The update that could not be made, from 1.</summary>
    public long Step { get; }

    /// <summary>The items whose loss is no number; all of the step's when only the gradient is not.</summary>
    public IReadOnlyList<string> Items { get; }
}
