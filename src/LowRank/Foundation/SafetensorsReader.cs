using System.Buffers;
using Microsoft.Win32.SafeHandles;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Reads a <c>.safetensors</c> file. Opening validates the header against the file and reads no data;
/// tensors are read or mapped by name. May be used from several threads.
/// </summary>
public sealed class SafetensorsReader : ITensorFile
{
    private readonly FileStream stream;
    private readonly SafeFileHandle file;
    private readonly Lazy<FileMapping> mapping;

    private SafetensorsReader(string path, FileStream stream, SafetensorsHeader header)
    {
        Path = path;
        this.stream = stream;
        file = stream.SafeFileHandle;
        Tensors = header.Tensors;
        Metadata = header.Metadata;
        mapping = new(() => new FileMapping(file, path));
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Every tensor of the file by name, in the order of the header.</summary>
    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>The header's <c>__metadata__</c>; empty when it has none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and validates its header: element types, shapes, byte ranges without holes or overlaps, exact length.</summary>
    /// <exception cref="CheckpointException">There is no such file, or it is no intact safetensors file; the message says what is wrong with it.</exception>
    public static SafetensorsReader Open(string path)
    {
        var stream = TensorFile.OpenForReading(path);
        try
        {
            return new SafetensorsReader(path, stream, SafetensorsHeader.Read(stream, path));
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>Reads one tensor into fresh memory. The caller owns it.</summary>
    /// <param name="name">A key of <see cref="Tensors"/>.</param>
    /// <exception cref="CheckpointException">No such tensor, an 8-bit float (see <see cref="ReadBytes"/>), or the disk failed.</exception>
    public Tensor Read(string name)
    {
        var info = this.Find(name);
        var type = EngineType(info);
        if (type == ScalarType.Bool) return ReadBool(info);
        var tensor = empty(info.Shape.ToArray(), dtype: type);
        TensorMemory.Visit(tensor, (piece, offset) => Fill(piece, info.Offset + offset));
        return tensor;
    }

    /// <summary>The bytes of one tensor as the file holds them: for 8-bit floats, hashes and copies.</summary>
    /// <param name="name">A key of <see cref="Tensors"/>.</param>
    /// <exception cref="CheckpointException">No such tensor, more than 2 GB, or the disk failed.</exception>
    public byte[] ReadBytes(string name)
    {
        var info = this.Find(name);
        if (info.Length > Array.MaxLength) throw TensorFile.Refuse(Path, Invariant($"tensor \"{name}\" has {info.Length} bytes, one array holds {Array.MaxLength}"), "read it as a tensor");
        var bytes = new byte[info.Length];
        Fill(bytes, info.Offset);
        return bytes;
    }

    /// <summary>
    /// One tensor over the file's own memory, without a copy: pages are read when they are first touched. Writing to the tensor never
    /// changes the file, but other tensors mapped by this reader see it. The memory lives as long as the tensor, also after
    /// <see cref="Dispose"/>. Meanwhile the file must not be changed in place; replacing it by another is harmless.
    /// Truth values are copied. The caller owns the tensor.
    /// </summary>
    /// <param name="name">A key of <see cref="Tensors"/>.</param>
    /// <exception cref="CheckpointException">No such tensor, or an 8-bit float.</exception>
    public Tensor Map(string name)
    {
        var info = this.Find(name);
        var type = EngineType(info);
        if (type == ScalarType.Bool) return ReadBool(info);
        return info.Length == 0 ? empty(info.Shape.ToArray(), dtype: type) : mapping.Value.Tensor(info.Offset, info.Shape, type);
    }

    /// <summary>Works for every type.</summary>
    void ITensorFile.Visit(string name, TensorMemory.SpanAction visit)
    {
        const int Piece = 1 << 20;   // stays in the processor's cache between reading and use
        var info = this.Find(name);
        var buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(Piece, info.Length));
        try
        {
            for (long at = 0; at < info.Length; at += Piece)
            {
                var piece = buffer.AsSpan(0, (int)Math.Min(Piece, info.Length - at));
                Fill(piece, info.Offset + at);
                visit(piece, at);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (mapping.IsValueCreated) mapping.Value.Dispose();
        stream.Dispose();
    }

    private ScalarType EngineType(TensorInfo info) => info.Type is not (StoredType.F8_E4M3 or StoredType.F8_E5M2)
        ? info.Type.ToScalarType()
        : throw TensorFile.RefuseFloat8(Path, info);

    /// <summary>Truth values are one byte each; any byte but 0 is true, as a tensor they must be 0 or 1.</summary>
    private Tensor ReadBool(TensorInfo info)
    {
        using var bytes = empty(info.Shape.ToArray(), dtype: ScalarType.Byte);
        TensorMemory.Visit(bytes, (piece, offset) => Fill(piece, info.Offset + offset));
        return bytes.IsNotEqualTo(0);
    }

    private void Fill(Span<byte> target, long offset) => TensorFile.Fill(file, Path, target, offset);
}
