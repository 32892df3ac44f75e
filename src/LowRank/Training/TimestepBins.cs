using System.Globalization;

namespace LowRank.Training;

/// <summary>
/// Timesteps in ten ranges of a hundred. The error of a prediction depends more on how noisy the picture was than on anything else, so it says little
/// unless timesteps of one range are compared.
/// </summary>
internal static class TimestepBins
{
    public const int Count = 10;
    private const int Width = 100;

    /// <summary>The range a timestep lies in, 0…9.</summary>
    public static int Of(long timestep) => (int)Math.Clamp(timestep / Width, 0, Count - 1);

    /// <summary>"000-099", so that names sort as their numbers do.</summary>
    public static string Name(int bin) => string.Create(CultureInfo.InvariantCulture, $"{bin * Width:D3}-{bin * Width + Width - 1:D3}");

    /// <summary>The middle of a range, for plots.</summary>
    public static double Middle(int bin) => (bin + 0.5) * Width;

    /// <summary>The mean error in each range; not a number where nothing lies in it.</summary>
    public static double[] Means(IEnumerable<PictureUse> uses)
    {
        var (sums, counts) = (new double[Count], new int[Count]);
        foreach (var use in uses)
        {
            sums[Of(use.Timestep)] += use.Error;
            counts[Of(use.Timestep)]++;
        }
        return [.. sums.Zip(counts, (sum, count) => sum / count)];
    }
}

/// <summary>The error in each range of timesteps, smoothed over its last uses.</summary>
internal sealed class SmoothedBins
{
    // a use of 50 uses of the range ago still counts with 1/e
    private const double Decay = 0.98;
    private readonly (double Average, int Uses)[] bins = new (double, int)[TimestepBins.Count];

    /// <summary>Takes in the uses of a step.</summary>
    /// <returns>The ranges that changed, with their averages, corrected for their start.</returns>
    public IEnumerable<(int Bin, double Error)> Add(IEnumerable<PictureUse> uses)
    {
        var changed = new SortedSet<int>();
        foreach (var use in uses)
        {
            var bin = TimestepBins.Of(use.Timestep);
            bins[bin] = (Decay * bins[bin].Average + (1 - Decay) * use.Error, bins[bin].Uses + 1);
            changed.Add(bin);
        }
        return [.. changed.Select(bin => (bin, bins[bin].Average / (1 - Math.Pow(Decay, bins[bin].Uses))))];
    }
}

/// <summary>How hard a picture was over a run.</summary>
/// <param name="Picture">Its name.</param>
/// <param name="Uses">How often it was used.</param>
/// <param name="Error">Mean error.</param>
/// <param name="Relative">Mean of error / mean error of all pictures in the same range of timesteps: 1 is as hard as the others. What its timesteps happened to be does not count.</param>
internal sealed record PictureDifficulty(string Picture, int Uses, double Error, double Relative)
{
    /// <summary>All pictures of a run, hardest first.</summary>
    public static IReadOnlyList<PictureDifficulty> Of(IReadOnlyList<PictureUse> uses)
    {
        var means = TimestepBins.Means(uses);
        return [.. uses.GroupBy(use => use.Picture).Select(picture => new PictureDifficulty(picture.Key, picture.Count(), picture.Average(use => use.Error), picture.Average(use => Relative(use))))
            .OrderByDescending(picture => picture.Relative).ThenBy(picture => picture.Picture, StringComparer.Ordinal)];

        double Relative(PictureUse use) => means[TimestepBins.Of(use.Timestep)] is > 0 and var mean ? use.Error / mean : 1;
    }
}
