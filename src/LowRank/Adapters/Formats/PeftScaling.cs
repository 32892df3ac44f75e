using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using LowRank.Foundation;

namespace LowRank.Adapters.Formats;

/// <summary>
/// The scales that PEFT keeps beside its factors: in <c>adapter_config.json</c>, or by component in the metadata entry
/// <c>lora_adapter_metadata</c> (huggingface/peft, src/peft/tuners/lora/config.py; diffusers, loaders/lora_base.py).
/// </summary>
internal sealed class PeftScaling
{
    public const string ConfigFile = "adapter_config.json";
    public const string MetadataKey = "lora_adapter_metadata";

    private readonly double? alpha;
    private readonly int? rank;
    private readonly bool rankStabilised;
    private readonly List<(Regex Pattern, double Value)> alphas;
    private readonly List<(Regex Pattern, double Value)> ranks;

    private PeftScaling(IReadOnlyDictionary<string, JsonElement> config)
    {
        alpha = Number("lora_alpha") ?? Number("alpha");   // LoHa and LoKr have the second
        rank = (int?)Number("r");
        rankStabilised = Flag("use_rslora");
        UsesDora = Flag("use_dora");
        alphas = Patterns("alpha_pattern");
        ranks = Patterns("rank_pattern");
        if (Flag("fan_in_fan_out")) Refusals.Add("fan_in_fan_out is set, which this version does not read");
        if (config.TryGetValue("peft_type", out var type) && type.ValueKind == JsonValueKind.String && type.GetString() is not ("LORA" or "LOHA" or "LOKR")) Refusals.Add($"peft_type is {type.GetString()}; LORA, LOHA and LOKR are read");

        double? Number(string key) => config.TryGetValue(key, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;
        bool Flag(string key) => config.TryGetValue(key, out var value) && value.ValueKind == JsonValueKind.True;
        List<(Regex, double)> Patterns(string key) => config.TryGetValue(key, out var value) && value.ValueKind == JsonValueKind.Object
            ? value.EnumerateObject().Where(item => item.Value.ValueKind == JsonValueKind.Number).Select(item => (Matcher(item.Name), item.Value.GetDouble())).ToList()
            : [];
    }

    /// <summary>Whether every module has lengths beside its factors.</summary>
    public bool UsesDora { get; }

    /// <summary>Settings that change what the factors mean.</summary>
    public List<string> Refusals { get; } = [];

    /// <summary>The config beside a PEFT file; null where there is none.</summary>
    public static PeftScaling? Beside(string file) =>
        TextBeside(file) is { } text ? new PeftScaling(Read(text, Path.Combine(Path.GetDirectoryName(Path.GetFullPath(file))!, ConfigFile))) : null;

    /// <summary>The text of the config beside a PEFT file; null where there is none.</summary>
    public static string? TextBeside(string file)
    {
        var path = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(file))!, ConfigFile);
        return Path.GetFileName(file).StartsWith("adapter_model", StringComparison.Ordinal) && File.Exists(path) ? File.ReadAllText(path) : null;
    }

    /// <summary>By component, what the metadata of a diffusers file says; empty where it says nothing.</summary>
    public static Dictionary<string, PeftScaling> FromMetadata(IReadOnlyDictionary<string, string> metadata, string path)
    {
        if (!metadata.TryGetValue(MetadataKey, out var text)) return [];
        return Read(text, $"{path}, metadata {MetadataKey}")
            .Where(item => item.Key.Contains('.', StringComparison.Ordinal))
            .GroupBy(item => item.Key[..item.Key.IndexOf('.', StringComparison.Ordinal)])
            .ToDictionary(group => group.Key, group => new PeftScaling(group.ToDictionary(item => item.Key[(group.Key.Length + 1)..], item => item.Value)));
    }

    /// <summary>The alpha that gives the module PEFT's scale; null where the config sets none.</summary>
    /// <param name="path">The module inside its component.</param>
    /// <param name="actualRank">Of its factors.</param>
    /// <param name="hasRank">False for factors that are whole matrices: PEFT divides their alpha by the rank of the configuration.</param>
    public double? AlphaOf(string path, int actualRank, bool hasRank = true)
    {
        var value = First(alphas, path) ?? alpha;
        if (!hasRank) return value / (RankOf(path) ?? actualRank) * actualRank;
        return rankStabilised ? value * Math.Sqrt(actualRank) : value;
    }

    /// <summary>The rank that the config says; null where it says none.</summary>
    public int? RankOf(string path) => (int?)First(ranks, path) ?? rank;

    private static double? First(List<(Regex Pattern, double Value)> patterns, string path)
    {
        foreach (var (pattern, value) in patterns)
        {
            if (pattern.IsMatch(path)) return value;
        }
        return null;
    }

    /// <summary>Keys match the end of a path after a dot, and may be regular expressions.</summary>
    private static Regex Matcher(string key)
    {
        try
        {
            return new Regex($@"^(?:.*\.)?(?:{key})$", RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);
        }
        catch (Exception error) when (error is ArgumentException or NotSupportedException)
        {
            return new Regex($@"^(?:.*\.)?{Regex.Escape(key)}$", RegexOptions.NonBacktracking);
        }
    }

    private static Dictionary<string, JsonElement> Read(string text, string where)
    {
        try
        {
            return JsonDocument.Parse(text).RootElement.EnumerateObject().ToDictionary(item => item.Name, item => item.Value);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new CheckpointException(string.Create(CultureInfo.InvariantCulture, $"no JSON object; in {where}; save the adapter again"), error);
        }
    }
}
