using Microsoft.Win32.SafeHandles;

namespace LowRank.Foundation;

/// <summary>Writes files that are there whole or not at all.</summary>
internal static class WholeFile
{
    /// <summary>
    /// Writes to a temporary file beside <paramref name="path"/>, flushes it to the disk, and only then gives it the name, replacing what was there.
    /// Where anything fails the temporary file is removed and the old file stays.
    /// </summary>
    /// <param name="path">The file to write.</param>
    /// <param name="length">Its length in bytes, so that a full disk shows before the first byte is written; 0 when not known.</param>
    /// <param name="write">Writes the content through the handle.</param>
    /// <exception cref="CheckpointException">The folder is missing or read-only, the disk is full.</exception>
    public static void Write(string path, long length, Action<SafeFileHandle> write)
    {
        var target = Path.GetFullPath(path);
        var temporary = Path.Combine(Path.GetDirectoryName(target) ?? "", $".{Path.GetFileName(target)}.{Guid.NewGuid():N}.tmp");
        try
        {
            using (var handle = File.OpenHandle(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, preallocationSize: length))
            {
                write(handle);
                RandomAccess.FlushToDisk(handle);
            }
            File.Move(temporary, target, overwrite: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"the file cannot be written: {error.Message.TrimEnd('.')}; {path}; check the folder, its permissions and the free space", error);
        }
        finally
        {
            if (File.Exists(temporary)) File.Delete(temporary);   // not after the move
        }
    }

    /// <summary>Writes these bytes.</summary>
    public static void Write(string path, ReadOnlyMemory<byte> bytes) => Write(path, bytes.Length, handle => RandomAccess.Write(handle, bytes.Span, 0));
}
