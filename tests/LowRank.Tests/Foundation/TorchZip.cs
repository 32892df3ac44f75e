using System.IO.Compression;
using System.Text;

namespace LowRank.Tests.Foundation;

/// <summary>Builds torch files piece by piece: pickles in protocol 2, and the zip archive around them.</summary>
internal static class TorchZip
{
    public static byte[] None => "N"u8.ToArray();

    public static byte[] Word(string value)
    {
        var bytes = Encoding.UTF8.GetBytes(value);
        return [(byte)'X', .. BitConverter.GetBytes(bytes.Length), .. bytes];
    }

    public static byte[] Number(long value) => value is >= int.MinValue and <= int.MaxValue
        ? [(byte)'J', .. BitConverter.GetBytes((int)value)]
        : [0x8a, 8, .. BitConverter.GetBytes(value)];

    public static byte[] Global(string module, string name) => [(byte)'c', .. Encoding.UTF8.GetBytes($"{module}\n{name}\n")];

    public static byte[] Tuple(params byte[][] items) => [(byte)'(', .. items.SelectMany(item => item), (byte)'t'];

    public static byte[] List(params byte[][] items) => [(byte)']', (byte)'(', .. items.SelectMany(item => item), (byte)'e'];

    public static byte[] Dict(params (byte[] Key, byte[] Value)[] items) => [(byte)'}', (byte)'(', .. items.SelectMany(item => item.Key.Concat(item.Value)), (byte)'u'];

    public static byte[] Call(byte[] function, params byte[][] arguments) => [.. function, .. Tuple(arguments), (byte)'R'];

    public static byte[] OrderedDict(params (byte[] Key, byte[] Value)[] items) =>
        [.. Call(Global("collections", "OrderedDict")), (byte)'(', .. items.SelectMany(item => item.Key.Concat(item.Value)), (byte)'u', .. Dict((Word("_metadata"), Dict())), (byte)'b'];

    public static byte[] Storage(string type, string key, long count, string device = "cpu") =>
        [.. Tuple(Word("storage"), Global(type.Contains('.') ? "torch.storage" : "torch", type.Split('.')[^1]), Word(key), Word(device), Number(count)), (byte)'Q'];

    public static byte[] View(byte[] storage, long offset, long[] shape, long[] strides) =>
        Call(Global("torch._utils", "_rebuild_tensor_v2"), storage, Number(offset), Tuple([.. shape.Select(Number)]), Tuple([.. strides.Select(Number)]), [0x89], Call(Global("collections", "OrderedDict")));

    /// <summary>The archive: the pickle of a value, and records by key.</summary>
    public static void Write(string path, byte[] value, params (string Key, byte[] Bytes)[] records) =>
        WriteZip(path, CompressionLevel.NoCompression, [("archive/data.pkl", [0x80, 2, .. value, (byte)'.']), .. records.Select(record => ($"archive/data/{record.Key}", record.Bytes))]);

    public static void WriteZip(string path, CompressionLevel level, params (string Name, byte[] Bytes)[] entries)
    {
        using var zip = new ZipArchive(File.Create(path), ZipArchiveMode.Create);
        foreach (var (name, bytes) in entries)
        {
            using var stream = zip.CreateEntry(name, level).Open();
            stream.Write(bytes);
        }
    }

    public static byte[] Floats(params float[] values) => [.. values.SelectMany(BitConverter.GetBytes)];
}
