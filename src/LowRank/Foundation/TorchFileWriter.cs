using System.Globalization;
using System.IO.Compression;
using System.Text;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Writes the torch files that old tools ask for (<c>torch.save</c>'s zip format, pickle protocol 2): embeddings of the web UIs, and the lists and tokens of the package of 2022.
/// Compare AUTOMATIC1111/stable-diffusion-webui, modules/textual_inversion/textual_inversion.py, <c>Embedding.save</c>.
/// </summary>
internal static class TorchFileWriter
{
    /// <summary>What the web UIs write as the id of <c>*</c>; they do not read it.</summary>
    private const int AsteriskId = 265;

    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="name">The word.</param>
    /// <param name="vectors">(n, C) float32, float16 or bfloat16.</param>
    /// <exception cref="CheckpointException">The file cannot be written.</exception>
    public static void WriteEmbedding(string path, string name, Tensor vectors)
    {
        byte[] none = [(byte)'N'];
        Write(path, [vectors], tensors => Dictionary(
            ("string_to_token", Dictionary(("*", Number(AsteriskId)))),
            ("string_to_param", Dictionary(("*", tensors[0]))),
            ("name", Word(name)), ("step", none), ("sd_checkpoint", none), ("sd_checkpoint_name", none)));
    }

    /// <summary>A list of tensors, as the package of 2022 keeps its factors.</summary>
    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="tensors">float32, float16 or bfloat16.</param>
    /// <exception cref="CheckpointException">The file cannot be written.</exception>
    public static void WriteList(string path, IReadOnlyList<Tensor> tensors) => Write(path, tensors, items => [(byte)']', (byte)'(', .. items.SelectMany(item => item), (byte)'e']);

    /// <summary>Tensors by name, as the package of 2022 keeps its tokens and diffusers its old embeddings.</summary>
    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="tensors">float32, float16 or bfloat16.</param>
    /// <exception cref="CheckpointException">The file cannot be written.</exception>
    public static void WriteDictionary(string path, IReadOnlyList<KeyValuePair<string, Tensor>> tensors) =>
        Write(path, [.. tensors.Select(item => item.Value)], items => Dictionary([.. tensors.Zip(items, (tensor, item) => (tensor.Key, item))]));

    /// <summary>Each tensor is a record of its own, numbered in order.</summary>
    private static void Write(string path, IReadOnlyList<Tensor> tensors, Func<IReadOnlyList<byte[]>, byte[]> root)
    {
        using var scope = NewDisposeScope();
        var contents = tensors.Select(tensor => tensor.detach().cpu().contiguous()).ToList();
        var buffer = new MemoryStream();
        using (var zip = new ZipArchive(buffer, ZipArchiveMode.Create, leaveOpen: true))
        {
            Add(zip, "data.pkl", [0x80, 2, .. root([.. contents.Select(Pickled)]), (byte)'.']);
            Add(zip, "byteorder", "little"u8.ToArray());
            for (var i = 0; i < contents.Count; i++) Add(zip, string.Create(CultureInfo.InvariantCulture, $"data/{i}"), contents[i].bytes.ToArray());
            Add(zip, "version", "3\n"u8.ToArray());
        }
        WholeFile.Write(path, buffer.ToArray());
    }

    private static void Add(ZipArchive zip, string name, byte[] bytes)
    {
        var entry = zip.CreateEntry("archive/" + name, CompressionLevel.NoCompression);
        entry.LastWriteTime = new DateTimeOffset(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);   // equal embeddings, equal files
        using var stream = entry.Open();
        stream.Write(bytes);
    }

    /// <summary>torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())</summary>
    private static byte[] Pickled(Tensor content, int index)
    {
        var storage = content.dtype switch { ScalarType.Float16 => "HalfStorage", ScalarType.BFloat16 => "BFloat16Storage", _ => "FloatStorage" };
        byte[] persistent = [.. Tuple(Word("storage"), Global("torch", storage), Word(index.ToString(CultureInfo.InvariantCulture)), Word("cpu"), Number((int)content.numel())), (byte)'Q'];
        byte[] noHooks = [.. Global("collections", "OrderedDict"), .. Tuple(), (byte)'R'];
        return [.. Global("torch._utils", "_rebuild_tensor_v2"), .. Tuple(persistent, Number(0), Sizes(content.shape), Sizes(content.stride()), [0x89], noHooks), (byte)'R'];
    }

    private static byte[] Sizes(long[] sizes) => Tuple([.. sizes.Select(size => Number((int)size))]);

    private static byte[] Word(string value)
    {
        var bytes = Encoding.UTF8.GetBytes(value);
        return [(byte)'X', .. BitConverter.GetBytes(bytes.Length), .. bytes];
    }

    private static byte[] Number(int value) => [(byte)'J', .. BitConverter.GetBytes(value)];

    private static byte[] Global(string module, string name) => [(byte)'c', .. Encoding.UTF8.GetBytes($"{module}\n{name}\n")];

    private static byte[] Tuple(params byte[][] items) => [(byte)'(', .. items.SelectMany(item => item), (byte)'t'];

    private static byte[] Dictionary(params (string Key, byte[] Value)[] items) => [(byte)'}', (byte)'(', .. items.SelectMany(item => Word(item.Key).Concat(item.Value)), (byte)'u'];
}
