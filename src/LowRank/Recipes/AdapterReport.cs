using System.Globalization;
using System.Text;

namespace LowRank.Recipes;

/// <summary>What an adapter file holds.</summary>
public sealed class AdapterReport
{
    internal AdapterReport() { }

    /// <summary>Path of the file that was read.</summary>
    public required string File { get; init; }

    /// <summary>Size of the file in bytes.</summary>
    public required long Bytes { get; init; }

    /// <summary>SHA-256 of the whole file, 64 hex digits.</summary>
    public required string Sha256 { get; init; }

    /// <summary>How its keys are written, most used first: kohya, PEFT, …</summary>
    public required IReadOnlyList<string> Formats { get; init; }

    /// <summary>Element types of its tensors as the file names them: F16, …</summary>
    public required IReadOnlyList<string> Types { get; init; }

    /// <summary>LoRA, LoHa, DoRA, …, embeddings; several where it mixes them.</summary>
    public required IReadOnlyList<string> Kinds { get; init; }

    /// <summary>Modules by component: unet, text_encoder, text_encoder_2; model where the names do not say.</summary>
    public required IReadOnlyDictionary<string, int> Modules { get; init; }

    /// <summary>Modules by the last words of their names: to_q, conv1, ….</summary>
    public required IReadOnlyDictionary<string, int> Targets { get; init; }

    /// <summary>Ranks that occur, ascending.</summary>
    public required IReadOnlyList<int> Ranks { get; init; }

    /// <summary>Alphas that occur, ascending; a module without counts with its rank.</summary>
    public required IReadOnlyList<double> Alphas { get; init; }

    /// <summary>alpha / rank that occur, ascending.</summary>
    public required IReadOnlyList<double> Scales { get; init; }

    /// <summary>The base model it was probably made for; null where nothing says.</summary>
    public string? Base { get; init; }

    /// <summary>What says so.</summary>
    public string? BaseEvidence { get; init; }

    /// <summary>‖ΔW‖ (Frobenius, strength 1) by component and block: unet down.0, …</summary>
    public required IReadOnlyDictionary<string, double> Norms { get; init; }

    /// <summary>Learned tokens, alone or beside the factors: the word and the shape of its vectors, for each text encoder.</summary>
    public required IReadOnlyList<string> Embeddings { get; init; }

    /// <summary>The file's metadata.</summary>
    public required IReadOnlyDictionary<string, string> Metadata { get; init; }

    /// <summary>Everything that makes the file unusable or may surprise.</summary>
    public required IReadOnlyList<string> Trouble { get; init; }

    /// <summary>Which tools read it: yes, no, or in part; empty where it holds more than LoRA.</summary>
    public required IReadOnlyDictionary<string, string> LoadsIn { get; init; }

    /// <summary>The report as lines to read.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{File}   {Size()}   sha256 {Sha256[..12]}…");
        Line("format", $"{Join(Formats, "none known")}, {Join(Types, "empty")}   kind {Join(Kinds, "none")}{Range("rank", Ranks)}{Range("alpha", Alphas)}{Range("scale", Scales)}");
        Line("base", (Base is null ? "nothing says" : $"{Base} ({BaseEvidence})") + MadeBy());
        if (Modules.Count > 0) Line("modules", string.Join(", ", Modules.Select(item => $"{Number(item.Value)} in {item.Key}")));
        if (Targets.Count > 0) Line("targets", string.Join(", ", Targets.Select(item => $"{item.Key} {Number(item.Value)}")));
        if (Norms.Count > 0) Line("‖ΔW‖", string.Join("   ", Norms.Select(item => $"{item.Key} {item.Value.ToString("G3", CultureInfo.InvariantCulture)} {Bar(item.Value)}")));
        if (Embeddings.Count > 0) Line("embeds", string.Join(", ", Embeddings));
        if (LoadsIn.Count > 0) Line("loads in", string.Join("   ", LoadsIn.Select(item => $"{item.Key} {item.Value}")));
        if (Trouble.Count == 0) Line("trouble", "none found");
        for (var i = 0; i < Trouble.Count; i++) Line(i == 0 ? "trouble" : "", Trouble[i]);
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");
    }

    private string Size() => Bytes switch
    {
        >= 10_000_000 => (Bytes / 1e6).ToString("F0", CultureInfo.InvariantCulture) + " MB",
        >= 100_000 => (Bytes / 1e6).ToString("F1", CultureInfo.InvariantCulture) + " MB",
        _ => (Bytes / 1e3).ToString("F1", CultureInfo.InvariantCulture) + " kB",
    };

    private string MadeBy()
    {
        var facts = new List<string>();
        if (Metadata.TryGetValue("lowrank.version", out var version)) facts.Add($"made by LowRank {version}");
        if ((Metadata.GetValueOrDefault("lowrank.seed") ?? Metadata.GetValueOrDefault("ss_seed")) is { } seed) facts.Add($"seed {seed}");
        if ((Metadata.GetValueOrDefault("lowrank.steps") ?? Metadata.GetValueOrDefault("ss_steps")) is { } steps) facts.Add($"{steps} steps");
        return facts.Count > 0 ? "   " + string.Join(", ", facts) : "";
    }

    /// <summary>One of eight heights, relative to the strongest block.</summary>
    private char Bar(double norm)
    {
        var most = Norms.Values.Where(double.IsFinite).DefaultIfEmpty().Max();
        return double.IsFinite(norm) && most > 0 ? "▁▂▃▄▅▆▇█"[(int)Math.Round(norm / most * 7)] : '?';
    }

    private static string Join(IReadOnlyList<string> values, string none) => values.Count > 0 ? string.Join(" and ", values) : none;

    private static string Range<T>(string word, IReadOnlyList<T> values) where T : IFormattable => values.Count switch
    {
        0 => "",
        1 => $"   {word} {Number(values[0])}",
        _ => $"   {word} {Number(values[0])} to {Number(values[^1])}",
    };

    private static string Number<T>(T value) where T : IFormattable => value.ToString(value is double ? "G4" : null, CultureInfo.InvariantCulture);
}
