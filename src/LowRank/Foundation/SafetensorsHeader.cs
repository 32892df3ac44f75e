using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Unicode;
using static System.FormattableString;

namespace LowRank.Foundation;

/// <summary>
/// The validated header of a safetensors file: 8-byte little-endian length, JSON, then the tensors' bytes without holes.
/// Nothing of it is trusted: every number is checked against the file before it is used.
/// Format and rules: huggingface/safetensors, README "Format" and safetensors/src/tensor.rs (validate).
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>The format's own limit, bytes.</summary>
    public const long LongestHeader = 100_000_000;

    private readonly string path;
    private readonly long dataStart;
    private readonly long fileLength;

    private SafetensorsHeader(string path, long dataStart, long fileLength)
    {
        this.path = path;
        this.dataStart = dataStart;
        this.fileLength = fileLength;
    }

    public Dictionary<string, TensorInfo> Tensors { get; } = [];
    public Dictionary<string, string> Metadata { get; } = [];

    /// <summary>Reads and checks the header of an open file.</summary>
    public static SafetensorsHeader Read(FileStream file, string path)
    {
        var start = new byte[Math.Min(file.Length, 15)];
        TensorFile.Fill(file.SafeFileHandle, path, start, 0);
        TensorFile.RefuseOtherKinds(start, path);
        if (start.AsSpan().StartsWith("PK\u0003\u0004"u8)) throw TensorFile.Refuse(path, "a zip archive (torch file), not a safetensors file", "name it .pt, .bin or .ckpt");
        if (start.Length < 8) throw TensorFile.Refuse(path, Invariant($"no safetensors file: {start.Length} bytes, the shortest has 10"));
        var length = BinaryPrimitives.ReadUInt64LittleEndian(start);
        if (length > LongestHeader)
        {
            throw TensorFile.Refuse(path, Invariant($"no safetensors file: the first 8 bytes give a header of {length} bytes, the limit is {LongestHeader}"));
        }
        if ((long)length > file.Length - 8)
        {
            throw TensorFile.Refuse(path, Invariant($"the file is cut short: its header has {length} bytes and starts at byte 8, the file has {file.Length} bytes"));
        }
        var header = new SafetensorsHeader(path, 8 + (long)length, file.Length);
        var json = new byte[length];
        TensorFile.Fill(file.SafeFileHandle, path, json, 8);
        header.Parse(json);
        header.CheckLayout();
        foreach (var info in header.Tensors.Values) header.CheckSize(info);
        return header;
    }

    private void Parse(byte[] json)
    {
        if (json.Length == 0 || json[0] != (byte)'{') throw TensorFile.Refuse(path, "the header is not JSON: it does not start with {");
        if (!Utf8.IsValid(json)) throw TensorFile.Refuse(path, "the header is not JSON: it is not UTF-8");
        try
        {
            using var document = JsonDocument.Parse(json);
            foreach (var entry in document.RootElement.EnumerateObject())
            {
                if (entry.Name == "__metadata__") ReadMetadata(entry.Value);
                else if (!Tensors.TryAdd(entry.Name, ReadEntry(entry.Name, entry.Value))) throw TensorFile.Refuse(path, $"two tensors are named \"{entry.Name}\"");
            }
        }
        // the second: text with half a surrogate pair
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw TensorFile.Refuse(path, $"the header is not JSON: {error.Message.TrimEnd('.')}", inner: error);
        }
    }

    private void ReadMetadata(JsonElement metadata)
    {
        if (metadata.ValueKind == JsonValueKind.Null) return;
        if (metadata.ValueKind != JsonValueKind.Object) throw TensorFile.Refuse(path, "the header's __metadata__ is not an object");
        foreach (var item in metadata.EnumerateObject())
        {
            if (item.Value.ValueKind != JsonValueKind.String) throw TensorFile.Refuse(path, $"the metadata \"{item.Name}\" is not text");
            if (!Metadata.TryAdd(item.Name, item.Value.GetString()!)) throw TensorFile.Refuse(path, $"the metadata \"{item.Name}\" is there twice");
        }
    }

    private TensorInfo ReadEntry(string name, JsonElement entry)
    {
        if (entry.ValueKind != JsonValueKind.Object) throw Bad("its entry is not an object");
        JsonElement? type = null, shape = null, offsets = null;
        foreach (var item in entry.EnumerateObject())
        {
            ref var slot = ref type;
            if (item.Name == "shape") slot = ref shape;
            else if (item.Name == "data_offsets") slot = ref offsets;
            else if (item.Name != "dtype") continue;
            if (slot is not null) throw Bad($"it has two entries \"{item.Name}\"");
            slot = item.Value;
        }
        if (type is not { ValueKind: JsonValueKind.String }) throw Bad("it has no dtype");
        var typeName = type.Value.GetString()!;
        if (!StoredTypes.TryParse(typeName, out var stored))
        {
            throw TensorFile.Refuse(path, $"tensor \"{name}\" has the unknown dtype {typeName}", $"known are {string.Join(", ", Enum.GetNames<StoredType>())}");
        }
        var sizes = Numbers(shape, "shape");
        var range = Numbers(offsets, "data_offsets");
        if (range.Length != 2 || range[0] > range[1]) throw Bad($"its data_offsets are {Shapes.Show(range)}");
        if (range[1] > long.MaxValue - dataStart) throw Bad($"its data_offsets are {Shapes.Show(range)}");
        return new TensorInfo(name, stored, sizes, dataStart + range[0], range[1] - range[0]);

        long[] Numbers(JsonElement? list, string what)
        {
            if (list is not { ValueKind: JsonValueKind.Array }) throw Bad($"it has no {what}");
            return list.Value.EnumerateArray().Select(item =>
                item.ValueKind == JsonValueKind.Number && item.TryGetInt64(out var value) && value >= 0 ? value : throw Bad($"its {what} holds {item.GetRawText()}")).ToArray();
        }

        CheckpointException Bad(string why) => Damaged(name, why);
    }

    private CheckpointException Damaged(string name, string why) => TensorFile.Refuse(path, $"tensor \"{name}\" is damaged: {why}");

    private void CheckSize(TensorInfo info)
    {
        if (ByteCount(info) is not { } bytes) throw Damaged(info.Name, $"its shape {Shapes.Show(info.Shape)} has more bytes than 64 bits can count");
        if (bytes == info.Length) return;
        throw Damaged(info.Name, Invariant($"its shape {Shapes.Show(info.Shape)} in {info.Type} needs {bytes} bytes, its data_offsets give {info.Length}"));
    }

    /// <summary>Elements times their size; null where that passes 63 bits, even if another axis is 0.</summary>
    private static long? ByteCount(TensorInfo info)
    {
        UInt128 bytes = (UInt128)info.Type.Size();
        foreach (var size in info.Shape)
        {
            bytes *= (UInt128)Math.Max(1, size);
            if (bytes > long.MaxValue) return null;
        }
        return info.Shape.Contains(0) ? 0 : (long)bytes;
    }

    /// <summary>The tensors fill the rest of the file: one after the other, no byte twice, none over.</summary>
    private void CheckLayout()
    {
        var ordered = Tensors.Values.OrderBy(info => info.Offset).ThenBy(info => info.Length).ToList();
        var cut = ordered.Find(info => info.Offset + info.Length > fileLength);
        if (cut is not null)
        {
            throw TensorFile.Refuse(path, Invariant(
                $"the file is cut short: tensor \"{cut.Name}\" ends at byte {cut.Offset + cut.Length}, the file has {fileLength} bytes"));
        }
        var (end, before) = (dataStart, "");
        foreach (var info in ordered)
        {
            if (info.Offset < end) throw TensorFile.Refuse(path, Invariant($"tensors \"{before}\" and \"{info.Name}\" share {end - info.Offset} bytes"));
            if (info.Offset > end) throw TensorFile.Refuse(path, Invariant($"{info.Offset - end} bytes before tensor \"{info.Name}\" belong to nobody"));
            (end, before) = (info.Offset + info.Length, info.Name);
        }
        if (end < fileLength) throw TensorFile.Refuse(path, Invariant($"{fileLength - end} bytes at the end belong to nobody"));
    }
}
