using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Names a cached result by everything it was made from: the content of the picture or the caption, the options that shaped it, and the model.
/// Equal keys mean equal results, so that nothing is ever out of date.
/// </summary>
/// <param name="Hash">SHA-256 in 64 lower-case hexadecimal digits.</param>
internal readonly record struct CacheKey(string Hash)
{
    /// <summary>The key of these parts; their order counts, and no two lists of parts run into one.</summary>
    public static CacheKey Of(params ReadOnlySpan<string> parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> length = stackalloc byte[4];
        foreach (var part in parts)
        {
            var bytes = Encoding.UTF8.GetBytes(part);
            BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
            hash.AppendData(length);
            hash.AppendData(bytes);
        }
        return new CacheKey(Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    /// <summary>SHA-256 of a file's content, for use as a part.</summary>
    public static string OfFile(string path)
    {
        using var stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}

/// <summary>
/// Results that are made once and used every epoch: latents of pictures, text states of captions. Kept in memory, and in a folder as well
/// where one is given, as one safetensors file each, so that a later run finds them. Owns what it keeps in memory.
/// </summary>
internal sealed class LatentCache : IDisposable
{
    private const string Checksum = "sha256";

    private readonly Dictionary<CacheKey, IReadOnlyDictionary<string, Tensor>> entries = [];
    private readonly string? folder;
    private readonly IProgress<TrainingEvent> events;
    private bool folderFailed;

    /// <summary>An empty cache in memory over what the folder holds.</summary>
    /// <param name="folder">Where files lie, also between runs; null for memory only.</param>
    /// <param name="events">Hears of damaged files and of a folder that cannot be written.</param>
    public LatentCache(string? folder, IProgress<TrainingEvent> events) => (this.folder, this.events) = (folder, events);

    /// <summary>The result under a key. The caller owns the tensors; they share memory with the cache and must not be written to.</summary>
    /// <returns>Null when it is not there, or only as a damaged file, of which the events tell.</returns>
    public IReadOnlyDictionary<string, Tensor>? Find(CacheKey key)
    {
        if (!entries.TryGetValue(key, out var entry))
        {
            if (ReadFile(key) is not { } read) return null;
            entry = entries[key] = read;
        }
        return Aliases(entry);
    }

    /// <summary>Keeps a result; the tensors stay the caller's and must not be written to any more.</summary>
    public void Add(CacheKey key, IReadOnlyDictionary<string, Tensor> tensors)
    {
        using var scope = NewDisposeScope();
        if (entries.Remove(key, out var old)) DisposeAll(old);
        entries[key] = tensors.ToDictionary(item => item.Key, item => item.Value.detach().DetachFromDisposeScope());
        if (folder is not null && !folderFailed) WriteFile(folder, key, tensors);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var entry in entries.Values) DisposeAll(entry);
        entries.Clear();
    }

    /// <summary>Where a key's file lies.</summary>
    internal static string PathOf(string folder, CacheKey key) => Path.Combine(folder, key.Hash[..2], key.Hash + ".safetensors");

    private Dictionary<string, Tensor>? ReadFile(CacheKey key)
    {
        if (folder is null || !File.Exists(PathOf(folder, key))) return null;
        var path = PathOf(folder, key);
        using var scope = NewDisposeScope();
        try
        {
            using var reader = SafetensorsReader.Open(path);
            var tensors = reader.Tensors.Keys.ToDictionary(name => name, name => reader.Read(name).clone());
            if (reader.Metadata.GetValueOrDefault(Checksum) != ChecksumOf(tensors)) throw new CheckpointException("its content is not what was written");
            foreach (var tensor in tensors.Values) tensor.DetachFromDisposeScope();
            return tensors;
        }
        catch (Exception problem) when (problem is CheckpointException or IOException)
        {
            events.Report(new RunWarning($"a cached result is damaged and will be made again: {problem.Message}; {path}"));
            return null;
        }
    }

    private void WriteFile(string root, CacheKey key, IReadOnlyDictionary<string, Tensor> tensors)
    {
        var path = PathOf(root, key);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            SafetensorsWriter.Write(path, tensors, [new(Checksum, ChecksumOf(tensors))]);
        }
        catch (Exception problem) when (problem is CheckpointException or IOException or UnauthorizedAccessException)
        {
            folderFailed = true;   // once is enough: the run goes on in memory
            events.Report(new RunWarning($"the cache folder cannot be written, results stay in memory: {problem.Message}"));
        }
    }

    private static string ChecksumOf(IReadOnlyDictionary<string, Tensor> tensors)
    {
        using var scope = NewDisposeScope();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (name, tensor) in tensors.OrderBy(item => item.Key, StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{name} {tensor.dtype} {string.Join(',', tensor.shape)};"));
            TensorMemory.Visit(tensor.detach().cpu().contiguous(), (piece, _) => hash.AppendData(piece));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static Dictionary<string, Tensor> Aliases(IReadOnlyDictionary<string, Tensor> entry) => entry.ToDictionary(item => item.Key, item => item.Value.alias());

    private static void DisposeAll(IReadOnlyDictionary<string, Tensor> entry)
    {
        foreach (var tensor in entry.Values) tensor.Dispose();
    }
}
