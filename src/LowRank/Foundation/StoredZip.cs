using System.Buffers.Binary;
using System.Text;
using Microsoft.Win32.SafeHandles;
using static System.FormattableString;

namespace LowRank.Foundation;

/// <summary>
/// Where the records of a zip archive lie in its file. Only records that are stored as they are can be found: torch writes no others,
/// and they can be mapped and read in part. Layout: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.
/// </summary>
internal sealed class StoredZip
{
    private const int LongestDirectory = 256 << 20;
    private readonly string path;
    private readonly SafeFileHandle file;
    private readonly long fileLength;
    private readonly Dictionary<string, Entry> entries = new(StringComparer.Ordinal);

    private sealed record Entry(bool Stored, long Length, long LocalHeader);

    /// <summary>Reads the directory of an open file.</summary>
    public StoredZip(SafeFileHandle file, string path)
    {
        this.path = path;
        this.file = file;
        fileLength = RandomAccess.GetLength(file);
        ReadEntries(ReadDirectory());
    }

    public IEnumerable<string> Names => entries.Keys;

    /// <summary>First byte in the file and length of a record, or null when there is none of this name.</summary>
    public (long Offset, long Length)? Find(string name)
    {
        if (!entries.TryGetValue(name, out var entry)) return null;
        if (!entry.Stored) throw TensorFile.Refuse(path, $"the record {name} is compressed, which torch never does", "save the file again with torch.save");
        var local = Bytes(entry.LocalHeader, 30);
        if (U32(local, 0) != 0x04034b50) throw Damaged($"no record starts where {name} should");
        var offset = entry.LocalHeader + 30 + U16(local, 26) + U16(local, 28);
        if (entry.Length > fileLength - offset) throw Damaged(Invariant($"the record {name} ends at byte {offset + entry.Length}, the file has {fileLength} bytes"));
        return (offset, entry.Length);
    }

    /// <summary>The central directory, found from the record at the end of the file.</summary>
    private byte[] ReadDirectory()
    {
        var tail = Bytes(Math.Max(0, fileLength - 65_557), (int)Math.Min(fileLength, 65_557));
        var end = tail.Length - 22;
        while (end >= 0 && !(U32(tail, end) == 0x06054b50 && U16(tail, end + 20) <= tail.Length - end - 22)) end--;
        if (end < 0) throw Damaged("the directory at its end is missing");
        long size = U32(tail, end + 12), start = U32(tail, end + 16);
        if (end >= 20 && U32(tail, end - 20) == 0x07064b50)
        {
            var large = Bytes(I64(tail, end - 12), 56);
            if (U32(large, 0) != 0x06064b50) throw Damaged("the directory at its end is not where it says");
            (size, start) = (I64(large, 40), I64(large, 48));
        }
        if (size is < 0 or > LongestDirectory) throw Damaged(Invariant($"its directory claims {size} bytes"));
        return Bytes(start, (int)size);
    }

    private void ReadEntries(byte[] directory)
    {
        for (var at = 0; at < directory.Length;)
        {
            if (at + 46 > directory.Length || U32(directory, at) != 0x02014b50) throw Damaged("its directory is broken");
            int name = U16(directory, at + 28), extra = U16(directory, at + 30), comment = U16(directory, at + 32);
            var next = at + 46 + name + extra + comment;
            if (next > directory.Length) throw Damaged("its directory is broken");
            long packed = U32(directory, at + 20), length = U32(directory, at + 24), local = U32(directory, at + 42);
            ReadLargeSizes(directory.AsSpan(at + 46 + name, extra), ref length, ref packed, ref local);
            var text = Encoding.UTF8.GetString(directory, at + 46, name);
            var stored = U16(directory, at + 10) == 0 && packed == length && (U16(directory, at + 8) & 1) == 0;
            if (length < 0 || !entries.TryAdd(text, new Entry(stored, length, local))) throw Damaged($"its directory names {text} twice, or without a size");
            at = next;
        }
    }

    /// <summary>The zip64 extra field holds, in this order, those of the three that do not fit 32 bits.</summary>
    private static void ReadLargeSizes(ReadOnlySpan<byte> extra, ref long length, ref long packed, ref long local)
    {
        while (extra.Length >= 4)
        {
            int id = BinaryPrimitives.ReadUInt16LittleEndian(extra), size = BinaryPrimitives.ReadUInt16LittleEndian(extra[2..]);
            if (size > extra.Length - 4) return;
            if (id == 1)
            {
                var field = extra.Slice(4, size);
                Take(ref field, ref length);
                Take(ref field, ref packed);
                Take(ref field, ref local);
                return;
            }
            extra = extra[(4 + size)..];
        }

        static void Take(ref ReadOnlySpan<byte> field, ref long value)
        {
            if (value != uint.MaxValue || field.Length < 8) return;
            value = BinaryPrimitives.ReadInt64LittleEndian(field);
            field = field[8..];
        }
    }

    private byte[] Bytes(long offset, int length)
    {
        if (offset < 0 || offset > fileLength - length) throw Damaged(Invariant($"it points to byte {offset}, the file has {fileLength} bytes"));
        var bytes = new byte[length];
        TensorFile.Fill(file, path, bytes, offset);
        return bytes;
    }

    private CheckpointException Damaged(string why) => TensorFile.Refuse(path, $"a damaged zip archive: {why}");

    private static ushort U16(byte[] bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at));
    private static uint U32(byte[] bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at));
    private static long I64(byte[] bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at));
}
