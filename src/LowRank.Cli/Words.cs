using System.Globalization;
using LowRank.Training;

namespace LowRank.Cli;

/// <summary>Numbers as people read them.</summary>
internal static class Words
{
    private const int BarWidth = 30, LeastBarWidth = 8;

    /// <summary>Bytes in decimal units, as file managers and disks count.</summary>
    public static string Size(long bytes) => bytes switch
    {
        < 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:F0} kB"),
        < 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:F2} GB"),
    };

    /// <summary>A measure of held-out pictures against that before training; null where this part of the run did not see that.</summary>
    public static string HeldOut(HeldOutMeasured measured, double? before)
    {
        var when = measured.Step == 0 ? "before training" : string.Create(CultureInfo.InvariantCulture, $"at step {measured.Step}");
        var change = measured.Step == 0 || before is null ? "" : string.Create(CultureInfo.InvariantCulture, $" ({100 * (measured.Loss / before - 1):+0.0;-0.0;0.0} %)");
        return string.Create(CultureInfo.InvariantCulture, $" held-out loss {measured.Loss:F4} {when}{change}");
    }

    public static string Duration(double seconds) => seconds switch
    {
        < 60 => string.Create(CultureInfo.InvariantCulture, $"{seconds:F0} s"),
        < 3600 => string.Create(CultureInfo.InvariantCulture, $"{(int)seconds / 60} min {(int)seconds % 60} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{(int)(seconds / 3600)} h {(int)seconds % 3600 / 60} min"),
    };

    /// <summary>Progress as a bar of at most 30 letters and a blank; nothing where less than 8 letters fit.</summary>
    public static string Bar(long done, long all, int room)
    {
        var width = Math.Min(BarWidth, room - 2);
        if (width < LeastBarWidth) return "";
        var filled = (int)(width * done / Math.Max(1, all));
        return new string('━', filled) + new string('─', width - filled) + "  ";
    }

    /// <summary>A path as short as it can be copied: relative where it lies below the current folder.</summary>
    public static string Place(string path)
    {
        if (string.IsNullOrWhiteSpace(path)) return path;   // told of where it is used
        var relative = Path.GetRelativePath(Directory.GetCurrentDirectory(), path);
        return relative.StartsWith("..", StringComparison.Ordinal) || Path.IsPathRooted(relative) ? path : relative;
    }

    /// <summary>A word of a command line to copy, in quotes where a shell would take it apart.</summary>
    public static string Quoted(string word) =>
        word.Length > 0 && word.All(letter => char.IsLetterOrDigit(letter) || "-_./\\:=+,@%[]~".Contains(letter, StringComparison.Ordinal)) ? word : $"\"{word.Replace("\"", "\\\"", StringComparison.Ordinal)}\"";
}
