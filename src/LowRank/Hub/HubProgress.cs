using System.Globalization;

namespace LowRank.Hub;

/// <summary>What happens while a model is fetched: something to be told, or how far it is.</summary>
public sealed class HubProgress
{
    internal HubProgress(string? note, string file, long done, long all) => (Note, File, Done, All) = (note, file, done, all);

    /// <summary>A sentence to tell, such as what is about to be downloaded, or why it waits; null where only the numbers have changed.</summary>
    public string? Note { get; }

    /// <summary>The file that is being downloaded, as the repository names it; empty before the first.</summary>
    public string File { get; }

    /// <summary>Bytes of the download that are there, of all files together.</summary>
    public long Done { get; }

    /// <summary>Bytes of the whole download; 0 before they are known.</summary>
    public long All { get; }

    /// <summary>The note, or the numbers.</summary>
    public override string ToString() => Note ?? $"{File}: {Size(Done)} of {Size(All)}";

    /// <summary>Bytes in decimal units, as disks count.</summary>
    internal static string Size(long bytes) => bytes switch
    {
        < 1_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes"),
        < 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:F0} kB"),
        < 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:F2} GB"),
    };
}
