using System.IO.Compression;
using System.Text;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Writes the one kind of torch file that we write: an embedding of the web UIs (<c>torch.save</c>'s zip format, pickle protocol 2).
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
        using var scope = NewDisposeScope();
        var content = vectors.detach().cpu().contiguous();
        var buffer = new MemoryStream();
        using (var zip = new ZipArchive(buffer, ZipArchiveMode.Create, leaveOpen: true))
        {
            Add(zip, "data.pkl", Pickle(name, content));
            Add(zip, "byteorder", "little"u8.ToArray());
            Add(zip, "data/0", content.bytes.ToArray());
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

    /// <summary>{string_to_token: {*: 265}, string_to_param: {*: vectors}, name, step: None, sd_checkpoint: None, sd_checkpoint_name: None}</summary>
    private static byte[] Pickle(string name, Tensor vectors)
    {
        var storage = vectors.dtype switch { ScalarType.Float16 => "HalfStorage", ScalarType.BFloat16 => "BFloat16Storage", _ => "FloatStorage" };
        var (rows, size) = ((int)vectors.size(0), (int)vectors.size(1));
        byte[] persistent = [.. Tuple(Word("storage"), Global("torch", storage), Word("0"), Word("cpu"), Number(rows * size)), (byte)'Q'];
        byte[] noHooks = [.. Global("collections", "OrderedDict"), .. Tuple(), (byte)'R'];
        byte[] tensor = [.. Global("torch._utils", "_rebuild_tensor_v2"), .. Tuple(persistent, Number(0), Tuple(Number(rows), Number(size)), Tuple(Number(size), Number(1)), [0x89], noHooks), (byte)'R'];
        byte[] none = [(byte)'N'];
        var root = Dictionary(
            ("string_to_token", Dictionary(("*", Number(AsteriskId)))),
            ("string_to_param", Dictionary(("*", tensor))),
            ("name", Word(name)), ("step", none), ("sd_checkpoint", none), ("sd_checkpoint_name", none));
        return [0x80, 2, .. root, (byte)'.'];
    }

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
