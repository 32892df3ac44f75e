namespace LowRank.Foundation;

/// <summary>Writes folders that are there whole or not at all.</summary>
internal static class WholeFolder
{
    /// <summary>Fills a folder beside <paramref name="path"/> and only then gives it the name, in place of a folder that was there. Where anything fails, what was there stays.</summary>
    /// <param name="path">The folder to write.</param>
    /// <param name="write">Writes into the folder that it is given, which is empty.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public static void Write(string path, Action<string> write)
    {
        var target = Path.GetFullPath(path);
        var beside = Path.Combine(Path.GetDirectoryName(target)!, "." + Path.GetFileName(target));
        var (fresh, old) = (beside + ".tmp", beside + ".old");
        try
        {
            if (!Directory.Exists(target) && Directory.Exists(old)) Directory.Move(old, target);   // of a process that was killed between the two moves
            Remove(fresh);
            Remove(old);
            Directory.CreateDirectory(fresh);
            write(fresh);
            Exchange(fresh, target, old);
            Remove(old);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"the folder cannot be written: {error.Message.TrimEnd('.')}; {path}; check the folder, its permissions and the free space", error);
        }
        finally
        {
            Remove(fresh);   // not after the move
        }
    }

    /// <summary>Moves what was there out of the way, and back where the new one cannot take its place.</summary>
    private static void Exchange(string fresh, string target, string old)
    {
        var replaces = Directory.Exists(target);
        if (replaces) Directory.Move(target, old);
        try
        {
            Directory.Move(fresh, target);
        }
        catch (Exception) when (replaces)
        {
            Directory.Move(old, target);
            throw;
        }
    }

    private static void Remove(string folder)
    {
        if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
    }
}
