using System.Text.Json;
using System.Text.RegularExpressions;
using LowRank.Foundation;

namespace LowRank.Hub;

/// <summary>Which files of a repository a pipeline needs: those of the parts that its <c>model_index.json</c> names, and of each part one kind of weights.</summary>
internal static partial class PipelineFiles
{
    /// <summary>Names the parts.</summary>
    public const string Index = "model_index.json";

    /// <summary>Parts that no family here opens: they judge finished pictures, or read pictures as prompts.</summary>
    public static readonly IReadOnlyList<string> LeftOut = ["safety_checker", "feature_extractor", "image_encoder"];

    private static readonly string[] TextEnds = [".json", ".txt", ".model"];
    private static readonly string[] WeightEnds = [".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".onnx_data", ".pb", ".gguf"];

    /// <summary>The parts that an index names and that are needed.</summary>
    /// <param name="index">Path of the file.</param>
    /// <exception cref="CheckpointException">It is no such file.</exception>
    public static IReadOnlyList<string> Parts(string index) =>
    [
        .. HubJson.ReadHub<Dictionary<string, JsonElement>>(index)
            .Where(item => item.Value.ValueKind == JsonValueKind.Array && item.Value.EnumerateArray().LastOrDefault().ValueKind == JsonValueKind.String)
            .Select(item => item.Key).Except(LeftOut),
    ];

    /// <summary>The files of one part.</summary>
    /// <param name="part">Name of its folder.</param>
    /// <param name="files">All files of the repository.</param>
    /// <param name="variant">Which weights are wanted, such as <c>fp16</c>, and no others; null: the plain ones, and where there are none those in half precision.</param>
    /// <returns>Paths in the repository; weights last. <c>Lacks</c>: whether there is a network without such weights.</returns>
    public static (IReadOnlyList<string> Files, bool Lacks) OfPart(string part, IEnumerable<string> files, string? variant)
    {
        var names = files.Where(file => file.StartsWith(part + "/", StringComparison.Ordinal)).Select(file => file[(part.Length + 1)..]).Where(name => !name.Contains('/', StringComparison.Ordinal)).Order(StringComparer.Ordinal).ToList();
        var texts = names.Where(name => TextEnds.Any(end => name.EndsWith(end, StringComparison.Ordinal)) && !name.Contains(".index.", StringComparison.Ordinal)).ToList();
        var weights = Weights(names, variant);
        return ([.. texts.Concat(weights).Select(name => $"{part}/{name}")], weights.Count == 0 && names.Contains("config.json"));
    }

    /// <summary>Variants of weights that a part has beside the plain ones.</summary>
    public static IReadOnlyList<string> Variants(string part, IEnumerable<string> files) =>
        [.. files.Where(file => file.StartsWith(part + "/", StringComparison.Ordinal)).Select(file => Variant().Match(file)).Where(match => match.Success).Select(match => match.Groups["variant"].Value).Distinct().Order(StringComparer.Ordinal)];

    /// <summary>Weights in single files, for messages: what a repository without an index may hold.</summary>
    public static IReadOnlyList<string> SingleFiles(IEnumerable<string> files) => [.. files.Where(file => !file.Contains('/', StringComparison.Ordinal) && WeightEnds[..3].Any(end => file.EndsWith(end, StringComparison.Ordinal))).Order(StringComparer.Ordinal)];

    /// <summary>What a part's folder lacks, in words; null where it is whole. Reads only names, and the index of weights in parts.</summary>
    public static string? Missing(string folder, string part, string? variant)
    {
        var place = Path.Combine(folder, part);
        var names = Directory.Exists(place) ? Directory.GetFiles(place).Where(HubCache.Has).Select(file => Path.GetFileName(file)!).ToList() : [];   // a link without its file is none
        if (names.Count == 0) return part;
        var isText = names.Exists(name => name is "scheduler_config.json" or "vocab.json" or "tokenizer.json" or "spiece.model" or "tokenizer.model" or "preprocessor_config.json");
        if (!names.Contains("config.json")) return isText ? null : $"{part}/config.json";
        var weights = Weights(names, variant);
        if (weights.Count == 0) return variant is null ? $"the weights of {part}" : $"the weights of {part} in {variant}";
        if (!weights[^1].EndsWith(".json", StringComparison.Ordinal)) return null;
        var shards = HubJson.ReadHub<WeightIndex>(Path.Combine(place, weights[^1])).WeightMap.Values.Distinct().Order(StringComparer.Ordinal);
        return shards.FirstOrDefault(shard => !names.Contains(shard)) is { } lacking ? $"{part}/{lacking}" : null;
    }

    private sealed record WeightIndex(Dictionary<string, string> WeightMap);

    /// <summary>Safetensors before pickles; of each the asked variant, or the plain weights before those in half precision; whole before in parts.</summary>
    private static List<string> Weights(List<string> names, string? variant)
    {
        foreach (var (end, stems) in new[] { (".safetensors", (string[])["diffusion_pytorch_model", "model"]), (".bin", ["diffusion_pytorch_model", "pytorch_model"]) })
        {
            foreach (var kind in variant is null ? (string[])["", ".fp16"] : ["." + variant])
            {
                foreach (var stem in stems)
                {
                    if (names.Contains(stem + kind + end)) return [stem + kind + end];
                    var indexes = names.Where(name => name == $"{stem}{kind}{end}.index.json" || (kind.Length > 0 && name == $"{stem}{end}.index{kind}.json")).ToList();
                    if (indexes.Count == 0) continue;
                    var shards = names.Where(name => name.StartsWith(stem, StringComparison.Ordinal) && Shard().Match(name[stem.Length..]) is { Success: true } match
                        && match.Groups["end"].Value == end && match.Groups["before"].Value + match.Groups["after"].Value == kind);
                    return [.. shards, .. indexes];
                }
            }
        }
        return [];
    }

    [GeneratedRegex(@"^(?<before>\.\w+)?-\d{5}-of-\d{5}(?<after>\.\w+)?(?<end>\.safetensors|\.bin)$")]
    private static partial Regex Shard();

    [GeneratedRegex(@"/(?:diffusion_pytorch_model|pytorch_model|model)(?:-\d{5}-of-\d{5})?\.(?<variant>[A-Za-z]\w*)(?:-\d{5}-of-\d{5})?\.(?:safetensors|bin)$")]
    private static partial Regex Variant();
}
