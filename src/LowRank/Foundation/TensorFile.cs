using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>A file of named tensors, whatever its format.</summary>
internal interface ITensorFile : IDisposable
{
    /// <summary>The file.</summary>
    string Path { get; }

    /// <summary>Its tensors by name.</summary>
    IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>Its metadata; empty where the format has none.</summary>
    IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Reads one tensor into fresh memory. The caller owns it.</summary>
    Tensor Read(string name);

    /// <summary>The tensor without a copy where the format allows it. The caller owns it.</summary>
    Tensor Map(string name);
}

/// <summary>Words that the readers share.</summary>
internal static class TensorFile
{
    public static CheckpointException Refuse(string path, string what, string advice = "download or copy the file again", Exception? inner = null) =>
        new($"{what}; in {path}; {advice}", inner);

    public static TensorInfo Find(this ITensorFile file, string name) => file.Tensors.TryGetValue(name, out var info)
        ? info
        : throw Refuse(file.Path, $"no tensor is named \"{name}\"{NearestName.Hint(name, file.Tensors.Keys)}", "list the file's names with: lora inspect");

    /// <summary>Opens for reading; a missing, forbidden or empty file is refused in words.</summary>
    public static FileStream OpenForReading(string path)
    {
        try
        {
            if (Directory.Exists(path)) throw Refuse(path, "this is a folder, a file is needed", "name the file inside it");
            var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            if (stream.Length > 0) return stream;
            stream.Dispose();
            throw Refuse(path, "the file is empty");
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CheckpointException($"no such file; {path}; check the path", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new CheckpointException($"the file cannot be opened: {error.Message.TrimEnd('.')}; {path}; check the path and its permissions", error);
        }
    }
}
