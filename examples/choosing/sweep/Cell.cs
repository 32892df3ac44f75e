using System.Globalization;

namespace LowRank.Examples.Choosing;

/// <summary>One training of the sweep: examples/choosing/recipe.toml with a few keys changed.</summary>
/// <param name="Name">Its folder below <c>cells</c>.</param>
/// <param name="Settings">The keys, as for <c>lora train --set</c>.</param>
/// <param name="Pictures">How many pictures are learned; null for all that are not held out.</param>
internal sealed record Cell(string Name, IReadOnlyList<string> Settings, int? Pictures = null)
{
    /// <summary>Ranks and learning rates of the grid.</summary>
    public static readonly IReadOnlyList<int> Ranks = [1, 4, 16, 64];

    /// <summary>See <see cref="Ranks"/>.</summary>
    public static readonly IReadOnlyList<double> Rates = [3e-4, 1e-3, 3e-3, 1e-2];

    /// <summary>Numbers of pictures, and the two rates that each is tried with.</summary>
    public static readonly IReadOnlyList<int> PictureCounts = [5, 20, 80];

    /// <summary>See <see cref="PictureCounts"/>; the layers are tried with them too.</summary>
    public static readonly IReadOnlyList<double> TwoRates = [1e-3, 3e-3];

    /// <summary>Other layers than the attention's, with ranks that make about as many numbers as rank 16 on these.</summary>
    public static readonly IReadOnlyList<(string Name, string[] Settings)> Layers =
    [
        ("attention+feedforward", ["adapter.targets=[\"attention+feedforward\"]", "adapter.rank=9"]),
        ("all", ["adapter.targets=[\"all\"]", "adapter.rank=4", "adapter.conv_rank=2"]),
    ];

    /// <summary>Rates that rank 16 is tried with where alpha is 1: that of the comparison, √16 times and 16 times as much.</summary>
    public static readonly IReadOnlyList<double> RatesOfSmallAlpha = [1e-3, 4e-3, 1.6e-2];

    /// <summary>Seeds that rank 4 is tried with besides the recipe's, to see what chance does.</summary>
    public static readonly IReadOnlyList<int> MoreSeeds = [8, 9];

    /// <summary>All trainings. Those with fewer pictures come last: which pictures are held out is read from the log of <see cref="Usual"/>.</summary>
    public static readonly IReadOnlyList<Cell> All =
    [
        Grid(4, 1e-3),
        .. from rank in Ranks from rate in Rates where (rank, rate) != (4, 1e-3) select Grid(rank, rate),
        .. MoreSeeds.Select(seed => new Cell(SeedName(seed), ["adapter.rank=4", Rate(1e-3), Text($"seed={seed}")])),
        .. RatesOfSmallAlpha.Select(rate => new Cell(AlphaName(rate), ["adapter.rank=16", "adapter.alpha=1", Rate(rate)])),
        .. from layers in Layers from rate in TwoRates select new Cell(LayersName(layers.Name, rate), [.. layers.Settings, Rate(rate)]),
        .. from count in PictureCounts from rate in TwoRates select new Cell(PicturesName(count, rate), ["adapter.rank=4", Rate(rate)], count),
    ];

    /// <summary>The training that the others are compared with: the recipe as it is.</summary>
    public static Cell Usual => All[0];

    /// <summary>Names of the trainings.</summary>
    public static string GridName(int rank, double rate) => Text($"rank-{rank}/rate-{rate:0.####}");

    /// <summary>See <see cref="GridName"/>.</summary>
    public static string SeedName(int seed) => Text($"seed-{seed}");

    /// <summary>See <see cref="GridName"/>.</summary>
    public static string AlphaName(double rate) => Text($"alpha-1/rate-{rate:0.####}");

    /// <summary>See <see cref="GridName"/>.</summary>
    public static string LayersName(string layers, double rate) => Text($"layers-{layers}/rate-{rate:0.####}");

    /// <summary>See <see cref="GridName"/>.</summary>
    public static string PicturesName(int count, double rate) => Text($"pictures-{count}/rate-{rate:0.####}");

    /// <summary>The training of a name.</summary>
    /// <exception cref="SweepException">There is none.</exception>
    public static Cell Named(string name) => All.FirstOrDefault(cell => cell.Name == name) ?? throw new SweepException($"there is no training {name}\n  there are   {string.Join(", ", All.Select(cell => cell.Name))}");

    private static Cell Grid(int rank, double rate) => new(GridName(rank, rate), [Text($"adapter.rank={rank}"), Rate(rate)]);

    private static string Rate(double rate) => Text($"training.learning_rate={rate:0.####}");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>Something that the user of the program can mend; the message says what, where and what to try.</summary>
internal sealed class SweepException(string message) : Exception(message);
