using System.IO.Compression;

namespace LowRank.Testing;

/// <summary>
/// Fixtures that shrink much lie in the repository as <c>NAME.gz</c> (<c>dotnet run eng/pack-fixtures.cs</c> makes them), and are asked for as <c>NAME</c>.
/// A file that is there by its own name goes first, so that a folder of plain files needs nothing.
/// </summary>
public static class PackedFixture
{
    private const string Packed = ".gz";
    private static readonly Lock Unpacking = new();

    /// <summary>Whether the file is there, packed or not.</summary>
    public static bool Exists(string path) => File.Exists(path) || File.Exists(path + Packed);

    /// <summary>Files of a folder that end so, packed or not, by the names without <c>.gz</c>, in order.</summary>
    public static IReadOnlyList<string> In(string folder, string pattern) =>
        [.. Directory.GetFiles(folder, pattern).Concat(Directory.GetFiles(folder, pattern + Packed).Select(path => path[..^Packed.Length])).Distinct().Order(StringComparer.Ordinal)];

    /// <summary>The file's bytes.</summary>
    public static byte[] ReadAllBytes(string path)
    {
        if (File.Exists(path)) return File.ReadAllBytes(path);
        using var packed = new GZipStream(File.OpenRead(path + Packed), CompressionMode.Decompress);
        using var bytes = new MemoryStream();
        packed.CopyTo(bytes);
        return bytes.ToArray();
    }

    /// <summary>A file with these bytes: itself, or an unpacked copy beside the test program.</summary>
    public static string Unpack(string path)
    {
        if (File.Exists(path) || !File.Exists(path + Packed)) return path;
        var source = new FileInfo(path + Packed);
        var copy = Path.Combine(AppContext.BaseDirectory, "unpacked", Path.GetFileName(Path.GetDirectoryName(path))!, Path.GetFileName(path));
        lock (Unpacking)
        {
            if (File.Exists(copy) && File.GetLastWriteTimeUtc(copy) == source.LastWriteTimeUtc) return copy;
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            var part = copy + Path.GetRandomFileName();   // two test programs may do this at once
            File.WriteAllBytes(part, ReadAllBytes(path));
            File.SetLastWriteTimeUtc(part, source.LastWriteTimeUtc);
            File.Move(part, copy, overwrite: true);
            return copy;
        }
    }
}
