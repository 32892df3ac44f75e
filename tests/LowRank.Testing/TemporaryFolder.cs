namespace LowRank.Testing;

/// <summary>A fresh folder that goes away with the test.</summary>
public sealed class TemporaryFolder : IDisposable
{
    public string FullName { get; } = Directory.CreateTempSubdirectory("lowrank-test-").FullName;

    /// <summary>A path inside; folders on the way are made.</summary>
    public string Path(params string[] parts)
    {
        var path = System.IO.Path.Combine([FullName, .. parts]);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        return path;
    }

    public void Dispose() => Directory.Delete(FullName, recursive: true);
}
