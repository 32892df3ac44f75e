namespace LowRank.Foundation;

/// <summary>
/// A folder for one program at a time: an exclusive lock on a file in it, which the system takes back however the program ends. The file itself stays, and
/// means nothing: it is empty, and a program that was killed locks nobody out.
/// </summary>
internal sealed class FolderLock : IDisposable
{
    private readonly FileStream file;

    private FolderLock(FileStream file) => this.file = file;

    /// <summary>Takes it, until disposed.</summary>
    /// <param name="folder">Exists, and can be written.</param>
    /// <param name="what">What lies in it, for the message.</param>
    /// <exception cref="OptionsException">Another program, or another part of this one, has it.</exception>
    public static FolderLock Take(string folder, string what)
    {
        try
        {
            return new FolderLock(new FileStream(Path.Combine(folder, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            throw new OptionsException($"{what} can be made by one program at a time: {folder}\n  reason    {problem.Message}\n  try       to wait for the other program, or to stop it", problem);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();
}
