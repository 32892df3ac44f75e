using System.Text.Json;

namespace LowRank.Foundation;

/// <summary>Which files hold the weights of one component, in the layouts that the hub uses.</summary>
internal static class ComponentFiles
{
    // the first that a folder has is taken: safetensors before pickles, full precision before fp16, whole before in parts
    private static readonly string[] Names =
    [
        .. Variants("diffusion_pytorch_model", ".safetensors"), .. Variants("model", ".safetensors"),
        .. Variants("diffusion_pytorch_model", ".bin"), .. Variants("pytorch_model", ".bin"),
    ];

    private static string[] Variants(string name, string end) =>
    [
        name + end, name + end + ".index.json",
        name + ".fp16" + end, name + ".fp16" + end + ".index.json", name + end + ".index.fp16.json",
    ];

    /// <summary>The weight file, or index of several, in a component's folder; null where there is none.</summary>
    public static string? FindIn(string folder) => Names.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists);

    /// <summary>The same, where there must be one.</summary>
    /// <exception cref="CheckpointException">The folder has none; the message says what it has.</exception>
    public static string Find(string folder)
    {
        if (FindIn(folder) is { } found) return found;
        var present = Directory.GetFiles(folder).Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal).ToList();
        var has = present.Count == 0 ? "it is empty" : $"it has {string.Join(", ", present.Take(10))}{(present.Count > 10 ? ", …" : "")}";
        throw TensorFile.Refuse(folder, $"the folder holds no weights: {has}", "expected diffusion_pytorch_model.safetensors, model.safetensors or pytorch_model.bin");
    }

    /// <summary>Opens the parts that an index names. Every tensor must be in the part the index says, and in no other.</summary>
    /// <returns>Where each tensor is; the caller owns the files.</returns>
    public static Dictionary<string, ITensorFile> OpenIndex(string path, Func<string, ITensorFile> open)
    {
        var map = ReadWeightMap(path);
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var opened = new Dictionary<string, ITensorFile>();
        try
        {
            foreach (var part in map.Values.Distinct().Order(StringComparer.Ordinal))
            {
                if (part != Path.GetFileName(part) || part is "" or "." or "..") throw TensorFile.Refuse(path, $"the index names the file \"{part}\", which is not in its folder");
                opened[part] = open(Path.Combine(folder, part));
            }
            foreach (var (name, part) in map)
            {
                if (!opened[part].Tensors.ContainsKey(name)) throw TensorFile.Refuse(path, $"the index says that \"{name}\" is in {part}, which does not hold it");
            }
            foreach (var (part, file) in opened)
            {
                var extra = file.Tensors.Keys.FirstOrDefault(name => !map.TryGetValue(name, out var home) || home != part);
                if (extra is not null) throw TensorFile.Refuse(path, $"{part} holds \"{extra}\", which the index does not say");
            }
            return map.ToDictionary(item => item.Key, item => opened[item.Value]);
        }
        catch
        {
            foreach (var file in opened.Values) file.Dispose();
            throw;
        }
    }

    private static Dictionary<string, string> ReadWeightMap(string path)
    {
        try
        {
            using var stream = TensorFile.OpenForReading(path);
            using var json = JsonDocument.Parse(stream, new JsonDocumentOptions { AllowDuplicateProperties = false });
            return json.RootElement.GetProperty("weight_map").EnumerateObject().ToDictionary(item => item.Name, item => item.Value.GetString() ?? "");
        }
        // no object, no weight_map, a part that is not text
        catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw TensorFile.Refuse(path, "no index of a checkpoint in parts: it needs \"weight_map\", an object of tensor names and files", inner: error);
        }
    }
}
