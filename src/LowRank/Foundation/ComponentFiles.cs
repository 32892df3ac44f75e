using System.Text.Json;
using System.Text.RegularExpressions;

namespace LowRank.Foundation;

/// <summary>Which files hold the weights of one component, in the layouts that the hub uses.</summary>
internal static class ComponentFiles
{
    private const string Half = "fp16";
    private static readonly (string Name, string End)[] Kinds =
    [
        ("diffusion_pytorch_model", ".safetensors"), ("model", ".safetensors"), ("diffusion_pytorch_model", ".bin"), ("pytorch_model", ".bin"),
    ];

    // the first that a folder has is taken: safetensors before pickles, full precision before fp16, whole before in parts
    private static readonly string[] Usual = [.. Kinds.SelectMany(kind => (string[])[kind.Name + kind.End, kind.Name + kind.End + ".index.json", .. OfVariant(kind, Half)])];

    private static string[] OfVariant((string Name, string End) kind, string variant) =>
        [$"{kind.Name}.{variant}{kind.End}", $"{kind.Name}.{variant}{kind.End}.index.json", $"{kind.Name}{kind.End}.index.{variant}.json"];

    /// <summary>The weight file, or index of several, in a component's folder; null where there is none.</summary>
    /// <param name="folder">The component's.</param>
    /// <param name="variant">Only weights of this variant, as <c>fp16</c> in <c>model.fp16.safetensors</c>; null: full precision, else fp16.</param>
    public static string? FindIn(string folder, string? variant = null) =>
        (variant is null ? Usual : Kinds.SelectMany(kind => OfVariant(kind, variant))).Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists);

    /// <summary>The same, where there must be one.</summary>
    /// <exception cref="CheckpointException">The folder has none; the message says what it has.</exception>
    public static string Find(string folder, string? variant = null)
    {
        if (FindIn(folder, variant) is { } found) return found;
        var present = Directory.GetFiles(folder).Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal).ToList();
        var has = present.Count == 0 ? "it is empty" : $"it has {string.Join(", ", present.Take(10))}{(present.Count > 10 ? ", …" : "")}";
        var others = present.SelectMany(VariantsOf).Distinct().ToList();
        if (variant is not null)
        {
            var known = others.Count == 0 ? "leave the variant out" : $"variants that it has: {string.Join(", ", others)}";
            throw TensorFile.Refuse(folder, $"the folder holds no weights of the variant {variant}: {has}", known);
        }
        throw TensorFile.Refuse(folder, $"the folder holds no weights: {has}",
            others.Count == 0 ? "expected diffusion_pytorch_model.safetensors, model.safetensors or pytorch_model.bin" : $"it has weights of a variant, which must be named: {string.Join(", ", others)}");
    }

    /// <summary>The variant that a file's name says.</summary>
    private static IEnumerable<string> VariantsOf(string file) => from kind in Kinds
                                                                  let match = Regex.Match(file, $@"^{Regex.Escape(kind.Name)}\.(?<variant>[A-Za-z0-9_-]+?)(-\d+-of-\d+)?{Regex.Escape(kind.End)}(\.index\.json)?$")
                                                                  where match.Success && !Regex.IsMatch(match.Groups["variant"].Value, @"^\d+-of-\d+$")
                                                                  select match.Groups["variant"].Value;

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
