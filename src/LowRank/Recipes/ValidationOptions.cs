using System.Globalization;

namespace LowRank.Recipes;

/// <summary>
/// How the loss on held-out pictures is measured: the recipe's <c>[validation]</c>. Always with the same noise and timesteps and without the options of
/// <c>[loss]</c> and <c>[noise]</c>, so that the numbers of runs with different recipes can be compared.
/// </summary>
public sealed record ValidationOptions
{
    private const int MeasuresOfARun = 20;

    /// <summary>
    /// Share of the pictures to hold out, below 1; 0 for none but those of data sets with <c>held_out = true</c>. The names of the pictures decide,
    /// so that adding pictures moves no other one.
    /// </summary>
    public double Share { get; init; }

    /// <summary>Measures every so many updates; 0 only before and after. Unset: about twenty times in the run. A measure costs a forward pass for each picture and timestep.</summary>
    public int? Every { get; init; }

    /// <summary>Timesteps at which each picture is measured, 0…999.</summary>
    public IReadOnlyList<int> Timesteps { get; init; } = [100, 300, 500, 700, 900];

    /// <summary>Where the noise comes from, with the name of each picture.</summary>
    public long Seed { get; init; }

    /// <summary>Whether a measure is due after so many updates of a run.</summary>
    internal bool IsDue(long step, int steps) => step == 0 || step == steps || (Every ?? Math.Max(1, steps / MeasuresOfARun)) is > 0 and var every && step % every == 0;

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    /// <param name="steps">Updates of the whole run.</param>
    /// <param name="hasHeldOut">Whether a data set is held out as a whole.</param>
    internal IReadOnlyList<string> Validate(int steps, bool hasHeldOut)
    {
        var (problems, usual) = (new List<string>(), new ValidationOptions());
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(Share is >= 0 and < 1, $"share: {Share}; must be 0 (none) to below 1");
        Check(Every is null or >= 0, $"every: {Every}; must be 0 (only before and after) or more");
        Check(!(Every > steps), $"every: {Every}; is more than the {steps} steps of the run; 0 measures before and after");
        Check(Timesteps.Count > 0, $"timesteps: empty; name at least one, 0 to 999");
        foreach (var timestep in Timesteps.Where(timestep => timestep is < 0 or > 999)) Check(false, $"timesteps: {timestep}; must be 0 to 999");
        Check(Timesteps.Distinct().Count() == Timesteps.Count, $"timesteps: {string.Join(", ", Timesteps)}; each counts once");
        var changed = Every is not null || Seed != usual.Seed || !Timesteps.SequenceEqual(usual.Timesteps);
        Check(Share != 0 || hasHeldOut || !changed, $"every, timesteps, seed: do nothing without held-out pictures: share, or a [[data]] table with held_out = true");
        return problems;
    }
}
