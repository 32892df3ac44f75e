using System.Runtime.CompilerServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
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

    /// <summary>The tensor's bytes in the order of its elements, in pieces; a file that can be read without mapping it is.</summary>
    void Visit(string name, TensorMemory.SpanAction visit)
    {
        using var tensor = Read(name);
        TensorMemory.Visit(tensor, visit);
    }
}

/// <summary>Words that the readers share.</summary>
internal static class TensorFile
{
    public static CheckpointException Refuse(string path, string what, string advice = "download or copy the file again", Exception? inner = null) =>
        new($"{what}; in {path}; {advice}", inner);

    public static TensorInfo Find(this ITensorFile file, string name) => file.Tensors.TryGetValue(name, out var info)
        ? info
        : throw Refuse(file.Path, $"no tensor is named \"{name}\"{NearestName.Hint(name, file.Tensors.Keys)}", "list the file's names with: lora inspect");

    /// <summary>The one number of a tensor with one element. Of a safetensors file without the engine, which takes longer to load than the rest of a header.</summary>
    public static double ReadNumber(this ITensorFile file, TensorInfo info)
    {
        if (file is not SafetensorsReader reader || info.Type.Number(reader.ReadBytes(info.Name)) is not { } number) return OfEngine(file, info);
        return number;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]   // so that the engine is not touched before it is needed
    private static double OfEngine(ITensorFile file, TensorInfo info)
    {
        using var scope = NewDisposeScope();
        return file.Read(info.Name).to(ScalarType.Float64).reshape(1)[0].item<double>();
    }

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

    /// <summary>Reads bytes of the file until the target is full.</summary>
    public static void Fill(SafeFileHandle file, string path, Span<byte> target, long offset)
    {
        try
        {
            while (target.Length > 0)
            {
                var count = RandomAccess.Read(file, target, offset);
                if (count == 0) throw Refuse(path, "the file was cut short while it was open");
                target = target[count..];
                offset += count;
            }
        }
        catch (IOException error)
        {
            throw Refuse(path, $"reading failed: {error.Message.TrimEnd('.')}", "check the disk or the network share", error);
        }
    }

    public static CheckpointException RefuseFloat8(string path, TensorInfo info) => Refuse(path,
        $"tensor \"{info.Name}\" is {info.Type}: 8-bit floats can be read as bytes, not computed with", "use the 16-bit version of the file");

    /// <summary>What people often have under a weight file's name instead; <paramref name="start"/> is its first bytes.</summary>
    public static void RefuseOtherKinds(ReadOnlySpan<byte> start, string path)
    {
        var text = Encoding.Latin1.GetString(start).TrimStart();
        if (text.StartsWith("version https:", StringComparison.Ordinal)) throw Refuse(path, "a Git LFS pointer, not the file it stands for", "run: git lfs pull");
        if (text.StartsWith("<!doctype", StringComparison.OrdinalIgnoreCase) || text.StartsWith("<html", StringComparison.OrdinalIgnoreCase))
        {
            throw Refuse(path, "a web page, not a file of weights: the download failed", "download it again; the site may want you to log in first");
        }
    }
}
