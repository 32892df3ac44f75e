using System.Globalization;
using System.Text.Json;
using static TorchSharp.torch;

namespace LowRank.Adapters.Formats;

/// <summary>
/// What a converted file says of itself: everything that its source said and that is still true, and what readers of the convention rely on
/// (sd-scripts' minimum set and hashes, Stability-AI/ModelSpec where the base is known).
/// </summary>
/// <param name="file">The source.</param>
/// <param name="to">The convention.</param>
/// <param name="names">Of the model.</param>
/// <param name="modules">Of the adapter.</param>
internal sealed class ConvertedMetadata(AdapterFile file, WrittenConvention to, ModuleNames names, IReadOnlyList<ConvertedModule> modules)
{
    private const string ModelHash = "sshs_model_hash", LegacyHash = "sshs_legacy_hash";

    /// <summary>Entries that belong to one writing of a file: its hashes, PEFT's scales, the container's format.</summary>
    private static readonly string[] OfOneWriting = [ModelHash, LegacyHash, "modelspec.hash_sha256", PeftScaling.MetadataKey, "format"];

    /// <summary>What only readers of alphas ask for.</summary>
    private static readonly string[] OfAlphas = ["ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_network_args", "lowrank.rank", "lowrank.alpha"];

    /// <summary>What tells of the pictures it was trained on: captions, folders, remarks, the recipe.</summary>
    private static readonly string[] OfPictures = ["ss_tag_frequency", "ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_datasets", "ss_training_comment", "ss_bucket_info", "lowrank.options"];

    private readonly bool flat = to is WrittenConvention.Kohya or WrittenConvention.Lycoris;

    /// <summary>All entries of one part, those that its convention put there included.</summary>
    public Dictionary<string, string> For(ConvertedPart part)
    {
        var metadata = file.Metadata.Where(item => Stays(item.Key, item.Value)).ToDictionary();
        foreach (var (key, value) in part.Metadata) metadata[key] = value;
        if (to is not (WrittenConvention.Legacy or WrittenConvention.Kohya or WrittenConvention.Lycoris)) metadata["format"] = "pt";
        if (!flat) return metadata;
        AddTrainer(metadata);
        if (Version() is { } version && !metadata.ContainsKey("modelspec.architecture")) AdapterMetadata.AddArchitecture(metadata, version, "lora", Title());
        foreach (var (key, hash) in AdapterHashes.Of(part.Tensors, metadata)) metadata[key] = hash;
        return metadata;
    }

    /// <summary>Takes out what tells of the pictures.</summary>
    /// <returns>The entries that are gone.</returns>
    public static IReadOnlyList<string> StripCaptions(Dictionary<string, string> metadata) => [.. OfPictures.Where(metadata.Remove)];

    /// <summary>The hashes of a file whose tensors have another type than they had, where it said any.</summary>
    public static void HashAnew(Dictionary<string, string> metadata, IReadOnlyCollection<KeyValuePair<string, Tensor>> tensors)
    {
        metadata.Remove("modelspec.hash_sha256");
        foreach (var (key, hash) in AdapterHashes.Of(tensors, metadata))
        {
            if (metadata.ContainsKey(key)) metadata[key] = hash;
        }
    }

    /// <summary>The package of 2022 reads every entry that ends in "rank" as the rank of all its modules, so that only its own may.</summary>
    private bool Stays(string key, string value) => !OfOneWriting.Contains(key) && (flat || !OfAlphas.Contains(key)) && value != "<embed>"
        && !(file.Modules.Any(module => module.Convention == AdapterConvention.Package2022) && (names.Components.Contains(key) || key.EndsWith(":rank", StringComparison.Ordinal)))
        && (to != WrittenConvention.Legacy || !key.EndsWith("rank", StringComparison.Ordinal));

    /// <summary>What sd-scripts writes even where it is asked for no metadata (library/train_util.py, SS_METADATA_MINIMUM_KEYS).</summary>
    private void AddTrainer(Dictionary<string, string> metadata)
    {
        var (network, arguments) = (modules.FirstOrDefault(module => module.Source.Kind!.Kind != AdapterKind.Lora) ?? modules[0]).Source.Kind!.Trainer;
        var plain = modules.Where(module => !module.Layer.Shape.IsWideConvolution).DefaultIfEmpty(modules[0]).ToList();
        metadata.TryAdd("ss_network_module", network);
        metadata.TryAdd("ss_network_dim", Only(plain.Select(module => module.Source.Rank.ToString(CultureInfo.InvariantCulture))));
        metadata.TryAdd("ss_network_alpha", Only(plain.Select(module => AdapterMetadata.Python(module.Source.EffectiveAlpha))));
        metadata.TryAdd("ss_network_args", arguments.Count == 0 ? "{}" : JsonSerializer.Serialize(arguments));
        if (Version() is { } version) metadata.TryAdd("ss_base_model_version", version);
        if ((Version() ?? (TextWidth() == 1024 ? "sd_v2" : null)) is { } known) metadata.TryAdd("ss_v2", known.StartsWith("sd_v2", StringComparison.Ordinal) ? "True" : "False");

        static string Only(IEnumerable<string> values) => values.Distinct().ToList() is [var one] ? one : "Dynamic";
    }

    /// <summary>The base as metadata calls it: what the file says, else what its width tells. Stable Diffusion 2 has two versions of one width: nothing is said then.</summary>
    private string? Version() => file.Metadata.GetValueOrDefault("ss_base_model_version") ?? file.Metadata.GetValueOrDefault("lowrank.base_version") ?? TextWidth() switch { 768 => "sd_v1", 2048 => "sdxl_base_v1-0", _ => null };

    private long? TextWidth() => names.Layers.FirstOrDefault(layer => layer.Component == "unet" && BaseGuess.TakesText(layer.Path))?.Shape.Inputs;

    private string Title() => file.Metadata.GetValueOrDefault("ss_output_name") ?? Path.GetFileNameWithoutExtension(file.Path);
}
