using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Writes <c>.safetensors</c> files as the reference library lays them out: header padded with spaces to a multiple of 8,
/// tensors by element type (widest first, bfloat16 before float16), then by the bytes of their names. Metadata is sorted by key
/// (the library's order is arbitrary), so that equal content gives equal files.
/// </summary>
public static class SafetensorsWriter
{
    // the reverse of the library's own order of types (safetensors/src/tensor.rs, enum Dtype)
    private static readonly StoredType[] TypeOrder =
    [
        StoredType.I64, StoredType.F64, StoredType.F32, StoredType.I32, StoredType.BF16, StoredType.F16, StoredType.I16,
        StoredType.F8_E4M3, StoredType.F8_E5M2, StoredType.I8, StoredType.U8, StoredType.BOOL,
    ];

    /// <summary>Writes a file whole or not at all: to a temporary file in the same folder, flushed to the disk, then renamed.</summary>
    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="tensors">Names and tensors, on any device, of any strides; they stay the caller's. Values are not examined.</param>
    /// <param name="metadata">Texts for <c>__metadata__</c>; null or empty for none.</param>
    /// <exception cref="ArgumentException">A name is used twice or is <c>__metadata__</c>, or a tensor has a type the format lacks.</exception>
    /// <exception cref="CheckpointException">The file cannot be written.</exception>
    public static void Write(string path, IEnumerable<KeyValuePair<string, Tensor>> tensors, IEnumerable<KeyValuePair<string, string>>? metadata = null)
    {
        var ordered = Order(tensors);
        var header = Header(ordered, metadata);
        var length = ordered.Aggregate((long)header.Length, (sum, item) => sum + ByteCount(item.Tensor));
        WholeFile.Write(path, length, file =>
        {
            RandomAccess.Write(file, header, 0);
            long at = header.Length;
            foreach (var (_, tensor) in ordered)
            {
                using var scope = NewDisposeScope();
                TensorMemory.Visit(tensor.detach().cpu().contiguous(), (piece, offset) => RandomAccess.Write(file, piece, at + offset));
                at += ByteCount(tensor);
            }
        });
    }

    /// <summary>The bytes that <see cref="Write"/> would write, for hashes: the header in one piece, then the tensors in any number of pieces.</summary>
    internal static void Visit(IEnumerable<KeyValuePair<string, Tensor>> tensors, IEnumerable<KeyValuePair<string, string>>? metadata, BytesVisitor visit)
    {
        var ordered = Order(tensors);
        visit(Header(ordered, metadata));
        foreach (var (_, tensor) in ordered)
        {
            using var scope = NewDisposeScope();
            TensorMemory.Visit(tensor.detach().cpu().contiguous(), (piece, _) => visit(piece));
        }
    }

    /// <summary>Takes bytes that are gone afterwards.</summary>
    internal delegate void BytesVisitor(ReadOnlySpan<byte> piece);

    private static List<(string Name, Tensor Tensor)> Order(IEnumerable<KeyValuePair<string, Tensor>> tensors)
    {
        var ordered = tensors
            .Select(item => (Name: item.Key, Tensor: item.Value, Rank: Array.IndexOf(TypeOrder, item.Value.dtype.ToStoredType()), Bytes: Encoding.UTF8.GetBytes(item.Key)))
            .OrderBy(item => item.Rank)
            .ThenBy(item => item.Bytes, Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)))
            .Select(item => (item.Name, item.Tensor))
            .ToList();
        var names = new HashSet<string> { "__metadata__" };
        foreach (var (name, _) in ordered)
        {
            if (!names.Add(name)) throw new ArgumentException($"two tensors are named \"{name}\", or the name is reserved", nameof(tensors));
        }
        return ordered;
    }

    /// <summary>Length, JSON and padding.</summary>
    private static byte[] Header(List<(string Name, Tensor Tensor)> ordered, IEnumerable<KeyValuePair<string, string>>? metadata)
    {
        var json = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(json, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            var texts = metadata?.OrderBy(item => item.Key, StringComparer.Ordinal).ToList() ?? [];
            if (texts.Count > 0)
            {
                writer.WriteStartObject("__metadata__");
                foreach (var (key, value) in texts) writer.WriteString(key, value);
                writer.WriteEndObject();
            }
            long at = 0;
            foreach (var (name, tensor) in ordered)
            {
                writer.WriteStartObject(name);
                writer.WriteString("dtype", tensor.dtype.ToStoredType().ToString());
                WriteNumbers(writer, "shape", tensor.shape);
                WriteNumbers(writer, "data_offsets", [at, at += ByteCount(tensor)]);
                writer.WriteEndObject();
            }
            writer.WriteEndObject();
        }
        var padded = (json.WrittenCount + 7) / 8 * 8;
        var header = new byte[8 + padded];
        BinaryPrimitives.WriteInt64LittleEndian(header, padded);
        json.WrittenSpan.CopyTo(header.AsSpan(8));
        header.AsSpan(8 + json.WrittenCount).Fill((byte)' ');
        return header;
    }

    private static void WriteNumbers(Utf8JsonWriter writer, string name, ReadOnlySpan<long> numbers)
    {
        writer.WriteStartArray(name);
        foreach (var number in numbers) writer.WriteNumberValue(number);
        writer.WriteEndArray();
    }

    private static long ByteCount(Tensor tensor) => tensor.numel() * tensor.element_size();
}
