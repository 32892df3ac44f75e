using System.Globalization;

namespace LowRank.Cli;

/// <summary>Numbers as people read them.</summary>
internal static class Words
{
    private const int BarWidth = 30;

    /// <summary>Bytes in decimal units, as file managers and disks count.</summary>
    public static string Size(long bytes) => bytes switch
    {
        < 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:F0} kB"),
        < 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:F2} GB"),
    };

    public static string Duration(double seconds) => seconds switch
    {
        < 60 => string.Create(CultureInfo.InvariantCulture, $"{seconds:F0} s"),
        < 3600 => string.Create(CultureInfo.InvariantCulture, $"{(int)seconds / 60} min {(int)seconds % 60} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{(int)(seconds / 3600)} h {(int)seconds % 3600 / 60} min"),
    };

    public static string Bar(long done, long all)
    {
        var filled = (int)(BarWidth * done / Math.Max(1, all));
        return new string('━', filled) + new string('─', BarWidth - filled);
    }
}
