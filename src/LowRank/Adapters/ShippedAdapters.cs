using LowRank.Foundation;

namespace LowRank.Adapters;

/// <summary>The adapters that come with the program, for the embedded base: a name takes the place of a path.</summary>
internal static class ShippedAdapters
{
    /// <summary>Their names; each is a file in <c>models/adapters</c>.</summary>
    public static readonly string[] Names = ["icons-line", "icons-pixel", "icons-tango"];

    /// <summary>The path itself, or where the adapter of that name lies. A file or folder of the same name goes first.</summary>
    /// <exception cref="CheckpointException">It is the name of one that is not there, or nearly such a name.</exception>
    public static string Find(string path)
    {
        if (File.Exists(path) || Directory.Exists(path)) return path;
        if (Names.Contains(path)) return Path.Combine(EmbeddedFolder.Find("adapters"), path + ".safetensors");
        return NearestName.Of(path, Names) is null
            ? path
            : throw new CheckpointException($"no adapter is there; {path}{NearestName.Hint(path, Names)}; name a file, or an adapter that comes with the program: {string.Join(", ", Names)}");
    }
}
