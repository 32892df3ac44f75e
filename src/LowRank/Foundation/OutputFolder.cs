using System.Globalization;

namespace LowRank.Foundation;

/// <summary>Tries a folder that is to be written before the work begins, so that nobody waits for a result that cannot be kept.</summary>
internal static class OutputFolder
{
    /// <summary>Asks for the free space, makes the folder, and writes and flushes a file that is gone again afterwards.</summary>
    /// <param name="path">The folder; made when it does not exist.</param>
    /// <param name="neededBytes">Estimate of all that will be written; 0 or more.</param>
    /// <param name="saving">What the user can do to need less, for the message; null when there is nothing.</param>
    /// <param name="freeBytes">The free space of the disk that an existing folder lies on; null asks the system.</param>
    /// <exception cref="OptionsException">It cannot be written, or the disk is too full; nothing was made then.</exception>
    public static void RequireWritable(string path, long neededBytes = 0, string? saving = null, Func<string, long>? freeBytes = null)
    {
        path = Path.GetFullPath(path);
        var existing = path;
        while (!Path.Exists(existing) && Path.GetDirectoryName(existing) is { } parent) existing = parent;
        if (File.Exists(existing)) throw NotWritable(path, existing == path ? "it is a file" : $"{existing} is a file, and a folder should be there", null);
        RequireSpace(path, neededBytes, saving, () => (freeBytes ?? AskSystem)(existing));
        try
        {
            Directory.CreateDirectory(path);
            using var probe = new FileStream(Path.Combine(path, $".write-test-{Guid.NewGuid():N}"), FileMode.CreateNew, FileAccess.Write, FileShare.None, 4096, FileOptions.DeleteOnClose);
            probe.Write(new byte[4096]);
            probe.Flush(flushToDisk: true);
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            throw NotWritable(path, problem.Message, problem);
        }
    }

    private static void RequireSpace(string path, long neededBytes, string? saving, Func<long> freeBytes)
    {
        if (neededBytes == 0) return;
        var free = freeBytes();
        if (free >= neededBytes) return;
        throw new OptionsException(string.Create(CultureInfo.InvariantCulture,
            $"""
            the disk is too full: {free / 1e6:F0} MB are free, about {neededBytes / 1e6:F0} MB are needed
              output    {path}
              try       another disk{(saving is null ? "" : ", or " + saving)}
            """));
    }

    private static long AskSystem(string existing) => new DriveInfo(existing).AvailableFreeSpace;

    private static OptionsException NotWritable(string path, string reason, Exception? problem) => new(
        $"""
        the output folder cannot be written: {path}
          reason    {reason}
          try       another output folder, or its permissions and the disk it lies on
        """, problem);
}
