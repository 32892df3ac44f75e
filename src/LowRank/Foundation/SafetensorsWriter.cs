using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
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
        Write(path, Streamed(tensors), metadata, workers: 1, CancellationToken.None);
    }

    /// <summary>The same for tensors that are made when their turn comes and gone afterwards: no more of them are in memory than workers.</summary>
    /// <param name="path">As above.</param>
    /// <param name="tensors">In any order.</param>
    /// <param name="metadata">As above.</param>
    /// <param name="workers">How many make and write tensors at the same time, each on a thread of its own; 1 works on the caller's.</param>
    /// <param name="cancellation">Stops between tensors; what was there stays then.</param>
    /// <exception cref="ArgumentException">As above.</exception>
    /// <exception cref="CheckpointException">The file cannot be written, or what making a tensor throws.</exception>
    internal static void Write(string path, IReadOnlyList<StreamedTensor> tensors, IEnumerable<KeyValuePair<string, string>>? metadata, int workers, CancellationToken cancellation)
    {
        var ordered = Order(tensors);
        var header = Header(ordered, metadata);
        var starts = new long[ordered.Count + 1];
        starts[0] = header.Length;
        for (var i = 0; i < ordered.Count; i++) starts[i + 1] = starts[i] + ordered[i].Length;
        WholeFile.Write(path, starts[^1], file =>
        {
            RandomAccess.Write(file, header, 0);
            if (workers == 1) for (var i = 0; i < ordered.Count; i++) WriteOne(i);
            else InParallel(ordered.Count, workers, WriteOne);

            void WriteOne(int i)
            {
                cancellation.ThrowIfCancellationRequested();
                ordered[i].Visit((piece, offset) => RandomAccess.Write(file, piece, starts[i] + offset));
            }
        });
    }

    /// <summary>The bytes that <see cref="Write(string, IEnumerable{KeyValuePair{string, Tensor}}, IEnumerable{KeyValuePair{string, string}}?)"/> would write, for hashes: the header in one piece, then the tensors in any number of pieces.</summary>
    internal static void Visit(IEnumerable<KeyValuePair<string, Tensor>> tensors, IEnumerable<KeyValuePair<string, string>>? metadata, BytesVisitor visit)
    {
        var ordered = Order(Streamed(tensors));
        visit(Header(ordered, metadata));
        foreach (var tensor in ordered) tensor.Visit((piece, _) => visit(piece));
    }

    /// <summary>Takes bytes that are gone afterwards.</summary>
    internal delegate void BytesVisitor(ReadOnlySpan<byte> piece);

    private static List<StreamedTensor> Streamed(IEnumerable<KeyValuePair<string, Tensor>> tensors) =>
        [.. tensors.Select(item => StreamedTensor.Made(item.Key, item.Value.dtype.ToStoredType(), item.Value.shape, () => item.Value.detach()))];

    /// <summary>The first error as it was thrown.</summary>
    private static void InParallel(int count, int workers, Action<int> body)
    {
        try
        {
            // one at a time: the largest tensor is a million times the smallest
            Parallel.ForEach(Partitioner.Create(Enumerable.Range(0, count), EnumerablePartitionerOptions.NoBuffering), new ParallelOptions { MaxDegreeOfParallelism = workers }, body);
        }
        catch (AggregateException errors)
        {
            ExceptionDispatchInfo.Throw(errors.Flatten().InnerExceptions[0]);
        }
    }

    private static List<StreamedTensor> Order(IEnumerable<StreamedTensor> tensors)
    {
        var ordered = tensors
            .Select(tensor => (Tensor: tensor, Rank: Array.IndexOf(TypeOrder, tensor.Type), Bytes: Encoding.UTF8.GetBytes(tensor.Name)))
            .OrderBy(item => item.Rank)
            .ThenBy(item => item.Bytes, Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)))
            .Select(item => item.Tensor)
            .ToList();
        var names = new HashSet<string> { "__metadata__" };
        foreach (var tensor in ordered)
        {
            if (!names.Add(tensor.Name)) throw new ArgumentException($"two tensors are named \"{tensor.Name}\", or the name is reserved", nameof(tensors));
        }
        return ordered;
    }

    /// <summary>Length, JSON and padding.</summary>
    private static byte[] Header(List<StreamedTensor> ordered, IEnumerable<KeyValuePair<string, string>>? metadata)
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
            foreach (var tensor in ordered)
            {
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", tensor.Type.ToString());
                WriteNumbers(writer, "shape", [.. tensor.Shape]);
                WriteNumbers(writer, "data_offsets", [at, at += tensor.Length]);
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
}
