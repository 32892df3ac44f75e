using System.Security.Cryptography;

namespace LowRank.Examples.Icons;

/// <summary>The files of three Debian packages from which everything is made.</summary>
/// <param name="Font">NotoColorEmoji.ttf.</param>
/// <param name="Names">emoji-test.txt.</param>
/// <param name="Tango">The folder of the Tango icons as SVG, with a sub-folder for each category.</param>
internal sealed record Sources(string Font, string Names, string Tango)
{
    /// <summary>The font in fonts-noto-color-emoji 2.042.</summary>
    public const string FontChecksum = "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec";

    /// <summary>The list in unicode-data 15.0.0.</summary>
    public const string NamesChecksum = "8445f23ac8388e096be19d0262e14fceff856ff52093f2356dc89485f1a853db";

    /// <summary>Finds the files where the packages put them.</summary>
    /// <param name="root">Under which folder: / where they are installed, or the folder into which they were unpacked.</param>
    public static Sources Under(string root) => new(
        Path.Combine(root, "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"),
        Path.Combine(root, "usr/share/unicode/emoji/emoji-test.txt"),
        Path.Combine(root, "usr/share/icons/Tango/scalable"));

    /// <summary>The packages that are not there, in the order in which they are needed.</summary>
    public IReadOnlyList<(string Package, string File)> Missing() =>
    [
        .. new[] { ("fonts-noto-color-emoji", Font), ("unicode-data", Names), ("tango-icon-theme", Tango) }.Where(needed => !Path.Exists(needed.Item2)),
    ];

    /// <summary>Makes sure that every file is there and is the one that the numbers of this folder were measured with.</summary>
    /// <param name="anyVersion">Takes other versions of the font and of the list too.</param>
    /// <exception cref="IconDataException">Files are missing or differ; the message names all of them and says what to do.</exception>
    public void Require(bool anyVersion)
    {
        if (Missing() is { Count: > 0 } missing)
        {
            throw new IconDataException(
                $"{missing.Count} of 3 packages are missing:\n" +
                string.Concat(missing.Select(one => $"  {one.Package}: no {one.File}\n")) +
                $"  install them: apt-get install {string.Join(' ', missing.Select(one => one.Package))}\n" +
                $"  or unpack them into a folder and name it with --root: apt-get download {string.Join(' ', missing.Select(one => one.Package))}; for each: dpkg -x FILE.deb FOLDER");
        }
        if (anyVersion) return;
        var other = new[] { (Font, FontChecksum, "fonts-noto-color-emoji 2.042"), (Names, NamesChecksum, "unicode-data 15.0.0") }
            .Select(one => (File: one.Item1, Wanted: one.Item2, Found: Checksum(one.Item1), Package: one.Item3))
            .Where(one => one.Found != one.Wanted).ToList();
        if (other.Count == 0) return;
        throw new IconDataException(
            $"{other.Count} of 2 files are of another version:\n" +
            string.Concat(other.Select(one => $"  {one.File}: sha256 {one.Found}, not {one.Wanted} of {one.Package}\n")) +
            "  take these versions (Debian 12 has them), or go on with yours by --any-version: pictures and counts will then differ from those that are written down");
    }

    /// <summary>SHA-256 in small letters.</summary>
    public static string Checksum(string file)
    {
        using var stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
