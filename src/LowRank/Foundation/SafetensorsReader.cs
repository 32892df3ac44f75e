using System.Buffers.Binary;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Reads a <c>.safetensors</c> file: 8-byte little-endian header length, JSON header, data.
/// Opening validates the header against the file and reads no data; tensors are read by name.
/// Format: huggingface/safetensors, README "Format".
/// </summary>
public sealed class SafetensorsReader : IDisposable
{
    private readonly SafeFileHandle file;

    private SafetensorsReader(string path, SafeFileHandle file, Dictionary<string, TensorInfo> tensors, Dictionary<string, string> metadata)
    {
        Path = path;
        this.file = file;
        Tensors = tensors;
        Metadata = metadata;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Every tensor of the file by name, in the order of the header.</summary>
    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>The header's <c>__metadata__</c>; empty when it has none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and validates its header.</summary>
    /// <exception cref="CheckpointException">The file is no intact safetensors file.</exception>
    public static SafetensorsReader Open(string path)
    {
        var file = File.OpenHandle(path, options: FileOptions.RandomAccess);
        Span<byte> prefix = stackalloc byte[8];
        RandomAccess.Read(file, prefix, 0);
        var headerLength = BinaryPrimitives.ReadInt64LittleEndian(prefix);
        var header = new byte[headerLength];
        RandomAccess.Read(file, header, 8);
        var tensors = new Dictionary<string, TensorInfo>();
        var metadata = new Dictionary<string, string>();
        using var json = JsonDocument.Parse(header);
        foreach (var entry in json.RootElement.EnumerateObject())
        {
            if (entry.Name == "__metadata__")
            {
                foreach (var item in entry.Value.EnumerateObject()) metadata[item.Name] = item.Value.GetString()!;
                continue;
            }
            var offsets = entry.Value.GetProperty("data_offsets");
            var shape = entry.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()).ToArray();
            var type = Enum.Parse<StoredType>(entry.Value.GetProperty("dtype").GetString()!);
            tensors[entry.Name] = new TensorInfo(entry.Name, type, shape, 8 + headerLength + offsets[0].GetInt64(), offsets[1].GetInt64() - offsets[0].GetInt64());
        }
        return new SafetensorsReader(path, file, tensors, metadata);
    }

    /// <summary>Reads one tensor into fresh memory. The caller owns it.</summary>
    public Tensor Read(string name)
    {
        var info = Tensors[name];
        var tensor = empty(info.Shape.ToArray(), dtype: info.Type.ToScalarType());
        if (info.Length > 0) RandomAccess.Read(file, tensor.bytes, info.Offset);
        return tensor;
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();
}
