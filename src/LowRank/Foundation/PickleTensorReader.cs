using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Reads the tensors of a file that <c>torch.save</c> wrote (<c>.pt</c>, <c>.bin</c>, <c>.ckpt</c>; the zip format of torch 1.6 and later).
/// The pickle in it is read as data with a list of allowed names: no code is ever run.
/// Tensors inside dictionaries and lists are named by their path, <c>a.0.weight</c>; where the outermost dictionary has a
/// <c>state_dict</c>, only what is in that counts, without the prefix.
/// </summary>
internal sealed class PickleTensorReader : ITensorFile
{
    private const int LongestPickle = 256 << 20;
    private const int DeepestNesting = 100;
    private const int MostEntries = 1_000_000;
    private const int LongestName = 4096;
    private readonly FileStream stream;
    private readonly Lazy<FileMapping> mapping;
    private readonly Dictionary<string, TensorInfo> tensors = [];
    private readonly Dictionary<string, (PickleTensor Tensor, long StorageStart)> views = [];
    private readonly Dictionary<string, object> values = [];
    private int entries;

    private PickleTensorReader(string path, FileStream stream)
    {
        Path = path;
        this.stream = stream;
        mapping = new(() => new FileMapping(stream.SafeFileHandle, path));
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Every tensor of the file by name, in the order of the pickle.</summary>
    public IReadOnlyDictionary<string, TensorInfo> Tensors => tensors;

    /// <summary>Numbers, truth values and texts beside the tensors (<c>long</c>, <c>double</c>, <c>bool</c>, <c>string</c>), named by their path.</summary>
    public IReadOnlyDictionary<string, object> Values => values;

    /// <summary>Empty: the format has none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; } = new Dictionary<string, string>();

    /// <summary>Opens a file, reads its pickle and checks every tensor against its record. Reads no tensor.</summary>
    /// <exception cref="CheckpointException">No such file, not a torch zip file, damaged, or it names something that tensors do not need.</exception>
    public static PickleTensorReader Open(string path)
    {
        var reader = new PickleTensorReader(path, TensorFile.OpenForReading(path));
        try
        {
            reader.ReadPickle();
            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    /// <summary>Reads one tensor into fresh, contiguous memory. The caller owns it.</summary>
    /// <param name="name">A key of <see cref="Tensors"/>.</param>
    /// <exception cref="CheckpointException">No such tensor, or an 8-bit float.</exception>
    public Tensor Read(string name)
    {
        using var mapped = Map(name);
        return mapped.clone();
    }

    /// <summary>One contiguous tensor, over the file's own memory where it lies so there (see <see cref="SafetensorsReader.Map"/>), else a copy. The caller owns it.</summary>
    /// <param name="name">A key of <see cref="Tensors"/>.</param>
    /// <exception cref="CheckpointException">No such tensor, or an 8-bit float.</exception>
    public Tensor Map(string name)
    {
        var info = this.Find(name);
        if (info.Type is StoredType.F8_E4M3 or StoredType.F8_E5M2) throw TensorFile.RefuseFloat8(Path, info);
        var type = info.Type == StoredType.BOOL ? ScalarType.Byte : info.Type.ToScalarType();
        if (info.Length == 0) return empty(info.Shape.ToArray(), dtype: info.Type.ToScalarType());
        var (view, start) = views[name];
        if (view.IsContiguous && type != ScalarType.Byte) return mapping.Value.Tensor(info.Offset, info.Shape, type);
        using var scope = NewDisposeScope();
        var extent = view.Offset + 1 + view.Shape.Zip(view.Strides, (size, stride) => (size - 1) * stride).Sum();
        var strided = mapping.Value.Tensor(start, [extent], type).as_strided(view.Shape, view.Strides, view.Offset);
        return (info.Type == StoredType.BOOL ? strided.IsNotEqualTo(0) : strided.clone()).contiguous().MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (mapping.IsValueCreated) mapping.Value.Dispose();
        stream.Dispose();
    }

    private void ReadPickle()
    {
        var file = stream.SafeFileHandle;
        RefuseOtherKinds(file);
        var zip = new StoredZip(file, Path);
        var pickle = zip.Names.FirstOrDefault(name => name == "data.pkl" || (name.EndsWith("/data.pkl", StringComparison.Ordinal) && name.Count(letter => letter == '/') == 1))
            ?? throw TensorFile.Refuse(Path, "a zip archive without data.pkl: no torch file, or a damaged one");
        var root = pickle[..^"data.pkl".Length];
        var (offset, length) = zip.Find(pickle)!.Value;
        if (length > LongestPickle) throw TensorFile.Refuse(Path, Invariant($"data.pkl has {length} bytes, the limit is {LongestPickle}"));
        if (zip.Find(root + "byteorder") is { Length: < 16 } order && Text(order) == "big") throw TensorFile.Refuse(Path, "the numbers are big-endian", "save it again on an ordinary machine");
        var code = new byte[length];
        TensorFile.Fill(file, Path, code, offset);
        var content = new PickleMachine(code, Path).Run();
        if (content is Dictionary<object, object?> outer && outer.GetValueOrDefault("state_dict") is Dictionary<object, object?> inner)
        {
            Collect(outer.Where(item => item.Value is string or long or double or bool).ToDictionary(), "", zip, root, 0);
            content = inner;
        }
        Collect(content, "", zip, root, 0);

        string Text((long Offset, long Length) record)
        {
            var bytes = new byte[record.Length];
            TensorFile.Fill(file, Path, bytes, record.Offset);
            return Encoding.ASCII.GetString(bytes);
        }
    }

    private void RefuseOtherKinds(SafeFileHandle file)
    {
        var start = new byte[Math.Min(stream.Length, 15)];
        TensorFile.Fill(file, Path, start, 0);
        if (start.AsSpan().StartsWith("PK"u8)) return;
        // protocol 2, then the magic number 0x1950a86a20f9469cfc6c (torch/serialization.py)
        if (start.AsSpan().StartsWith((ReadOnlySpan<byte>)[0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]))
        {
            throw TensorFile.Refuse(Path, "a torch file of before version 1.6 (2020), which is no zip archive and is not read", "load and save it once with a later torch");
        }
        if (start[0] == 0x80) throw TensorFile.Refuse(Path, "a plain pickle, no torch file; nothing of it was run", "get it as .safetensors, or from somebody you trust");
        TensorFile.RefuseOtherKinds(start, Path);
        throw TensorFile.Refuse(Path, "no torch file: it is no zip archive");
    }

    private void Collect(object? value, string name, StoredZip zip, string root, int depth)
    {
        if (depth > DeepestNesting || ++entries > MostEntries || name.Length > LongestName)
        {
            throw TensorFile.Refuse(Path, "the pickle is nested too deeply, or has too many entries", "the file may be hostile: get it as .safetensors");
        }
        switch (value)
        {
            case PickleTensor tensor: Add(tensor, name, zip, root); break;
            case string or long or double or bool: values[name] = value; break;
            case PickleObject item: Collect(TorchGlobals.Content(item), name, zip, root, depth + 1); break;
            case Dictionary<object, object?> dictionary:
                foreach (var (key, child) in dictionary) Collect(child, Join(name, Key(key)), zip, root, depth + 1);
                break;
            case IReadOnlyList<object?> list:       // also tuples
                for (var i = 0; i < list.Count; i++) Collect(list[i], Join(name, Key((long)i)), zip, root, depth + 1);
                break;
            default: break;                         // bytes, classes, storages nobody looks at
        }

        static string Join(string name, string key) => name.Length == 0 ? key : $"{name}.{key}";

        static string Key(object key) => key is IFormattable number ? number.ToString(null, CultureInfo.InvariantCulture) : key.ToString() ?? "";
    }

    private void Add(PickleTensor tensor, string name, StoredZip zip, string root)
    {
        var record = $"{root}data/{tensor.Storage.Key}";
        var (start, length) = zip.Find(record) ?? throw TensorFile.Refuse(Path, $"the record {record}, which holds \"{name}\", is missing");
        var (size, needed) = (tensor.Type.Size(), (UInt128)tensor.Storage.Count * (UInt128)(tensor.Storage.Type?.Size() ?? 1));
        if (needed > (UInt128)length) throw TensorFile.Refuse(Path, Invariant($"the record {record}, which holds \"{name}\", has {length} bytes, {needed} are needed"));
        if (!tensors.TryAdd(name, new TensorInfo(name, tensor.Type, tensor.Shape, start + tensor.Offset * size, tensor.Count * size)))
        {
            throw TensorFile.Refuse(Path, $"two tensors are named \"{name}\"");
        }
        views[name] = (tensor, start);
    }
}
