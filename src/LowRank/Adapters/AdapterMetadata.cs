using System.Globalization;
using System.Text.Json;

namespace LowRank.Adapters;

/// <summary>
/// What a written file says of itself. No time of writing: equal adapters give equal files.
/// Keys: sd-scripts (library/train_util.py, minimum metadata), Stability-AI/ModelSpec 1.0.1, and our own <c>lowrank.*</c>.
/// </summary>
internal static class AdapterMetadata
{
    private const string GenerativeModels = "https://github.com/Stability-AI/generative-models";

    /// <summary>Architecture and implementation as sd-scripts writes them, by base version (library/sai_model_spec.py).</summary>
    private static readonly Dictionary<string, (string Architecture, string Implementation)> Architectures = new()
    {
        ["sd_v1"] = ("stable-diffusion-v1", "diffusers"),
        ["sd_v2"] = ("stable-diffusion-v2-512", "diffusers"),
        ["sd_v2_v"] = ("stable-diffusion-v2-768-v", "diffusers"),
        ["sdxl_base_v1-0"] = ("stable-diffusion-xl-v1-base", GenerativeModels),
    };

    public static string Version { get; } = typeof(AdapterMetadata).Assembly.GetName().Version!.ToString(3);

    /// <summary>Everything but hashes.</summary>
    public static Dictionary<string, string> Of(IReadOnlyList<AdapterLayer> layers, AdapterSaveOptions options, string title)
    {
        var metadata = new Dictionary<string, string>();
        AddOwn(metadata, layers, options);
        AddModelSpec(metadata, options, title);
        if (options.Format == AdapterFormat.Kohya) AddTrainer(metadata, layers, options, title);
        else metadata["format"] = "pt";
        return metadata;
    }

    private static void AddOwn(Dictionary<string, string> metadata, IReadOnlyList<AdapterLayer> layers, AdapterSaveOptions options)
    {
        metadata["lowrank.version"] = Version;
        metadata["lowrank.kind"] = string.Join(", ", layers.Select(layer => layer.Target.Kind.Word).Distinct().Order(StringComparer.Ordinal));
        metadata["lowrank.rank"] = Numbers(layers.Select(layer => (double)layer.Rank));
        metadata["lowrank.alpha"] = Numbers(layers.Select(layer => layer.Alpha));
        if (options.Targets.Count > 0) metadata["lowrank.targets"] = JsonSerializer.Serialize(options.Targets);
        Add(metadata, "lowrank.base", options.Base);
        Add(metadata, "lowrank.base_version", options.BaseVersion);
        Add(metadata, "lowrank.seed", options.Seed);
        Add(metadata, "lowrank.steps", options.Steps);
        Add(metadata, "lowrank.options", options.Options);

        static string Numbers(IEnumerable<double> values) => string.Join(", ", values.Distinct().Order().Select(value => value.ToString(CultureInfo.InvariantCulture)));
    }

    private static void AddModelSpec(Dictionary<string, string> metadata, AdapterSaveOptions options, string title)
    {
        if (options.BaseVersion is null || !AddArchitecture(metadata, options.BaseVersion, "lora", title)) return;
        if (options.Resolution is { } size) metadata["modelspec.resolution"] = string.Create(CultureInfo.InvariantCulture, $"{size.Width}x{size.Height}");
        Add(metadata, "modelspec.prediction_type", options.PredictionType);
    }

    /// <summary>What a file is, by Stability-AI/ModelSpec; false where the base is none that it has a word for.</summary>
    /// <param name="metadata">Where it is said.</param>
    /// <param name="version">sd_v1, sd_v2, sd_v2_v, sdxl_base_v1-0.</param>
    /// <param name="kind">lora, or textual-inversion, whose implementation sd-scripts always gives as the original one.</param>
    /// <param name="title">Name shown by tools.</param>
    public static bool AddArchitecture(Dictionary<string, string> metadata, string version, string kind, string title)
    {
        if (!Architectures.TryGetValue(version, out var known)) return false;
        metadata["modelspec.sai_model_spec"] = "1.0.1";
        metadata["modelspec.architecture"] = $"{known.Architecture}/{kind}";
        metadata["modelspec.implementation"] = kind == "lora" ? known.Implementation : GenerativeModels;
        metadata["modelspec.title"] = title;
        return true;
    }

    /// <summary>A number as Python prints it.</summary>
    public static string Python(double value) => value.ToString(value == Math.Truncate(value) ? "0.0" : "R", CultureInfo.InvariantCulture);

    private static void AddTrainer(Dictionary<string, string> metadata, IReadOnlyList<AdapterLayer> layers, AdapterSaveOptions options, string title)
    {
        var byWidth = layers.ToLookup(layer => layer.Target.Shape.IsWideConvolution);
        var plain = byWidth[false].Any() ? byWidth[false] : byWidth[true];
        // of a set with several kinds the module that reads them all
        var (module, arguments) = (layers.FirstOrDefault(layer => layer.Kind != AdapterKind.Lora) ?? layers[0]).Target.Kind.Trainer;
        metadata["ss_network_module"] = module;
        metadata["ss_network_dim"] = Only(plain.Select(layer => layer.Rank.ToString(CultureInfo.InvariantCulture)));
        metadata["ss_network_alpha"] = Only(plain.Select(layer => Python(layer.Alpha)));
        var all = new SortedDictionary<string, string>(arguments.ToDictionary(), StringComparer.Ordinal);
        if (byWidth[true].Any())
        {
            all["conv_alpha"] = Only(byWidth[true].Select(layer => Python(layer.Alpha)));
            all["conv_dim"] = Only(byWidth[true].Select(layer => layer.Rank.ToString(CultureInfo.InvariantCulture)));
        }
        metadata["ss_network_args"] = all.Count == 0 ? "{}" : JsonSerializer.Serialize(all);
        metadata["ss_output_name"] = title;
        if (options.BaseVersion is { } version)
        {
            metadata["ss_base_model_version"] = version;
            metadata["ss_v2"] = version.StartsWith("sd_v2", StringComparison.Ordinal) ? "True" : "False";
        }
        Add(metadata, "ss_seed", options.Seed);
        Add(metadata, "ss_steps", options.Steps);
        if (options.Resolution is { } size) metadata["ss_resolution"] = string.Create(CultureInfo.InvariantCulture, $"({size.Width}, {size.Height})");

        foreach (var (key, value) in options.Facts) metadata[key] = value;

        // sd-scripts' own word where the modules differ (networks/resize_lora.py)
        static string Only(IEnumerable<string> values) => values.Distinct().ToList() is [var one] ? one : "Dynamic";
    }

    private static void Add(Dictionary<string, string> metadata, string key, IFormattable? value)
    {
        if (value is not null) metadata[key] = value.ToString(null, CultureInfo.InvariantCulture);
    }

    private static void Add(Dictionary<string, string> metadata, string key, string? value)
    {
        if (value is not null) metadata[key] = value;
    }
}
