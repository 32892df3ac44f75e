using System.Text;

namespace LowRank.Families;

/// <summary>
/// Small files of a model's folder that a checkpoint of one file brings in its metadata, one entry each: <c>lowrank.file.unet/config.json</c>. Programs that do
/// not know them pass them over.
/// </summary>
/// <param name="metadata">Of the file.</param>
internal sealed class SingleFileMetadata(IReadOnlyDictionary<string, string> metadata)
{
    private const string Prefix = "lowrank.file.";

    /// <summary>The metadata's key of a small file.</summary>
    /// <param name="file">In the layout of diffusers, with slashes.</param>
    public static string KeyOf(string file) => Prefix + file;

    /// <summary>A small file's content; null where the metadata does not bring it.</summary>
    /// <param name="file">In the layout of diffusers, with slashes.</param>
    public byte[]? Read(string file) => metadata.TryGetValue(KeyOf(file), out var text) ? Encoding.UTF8.GetBytes(text) : null;
}
