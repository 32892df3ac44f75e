using System.Globalization;
using System.Text;

namespace LowRank.Recipes;

/// <summary>What an adapter file holds.</summary>
public sealed class AdapterReport
{
    private const int BarWidth = 20;

    internal AdapterReport() { }

    /// <summary>Path of the file that was read.</summary>
    public required string File { get; init; }

    /// <summary>Size of the file in bytes.</summary>
    public required long Bytes { get; init; }

    /// <summary>SHA-256 of the whole file, 64 hex digits; null where only its header was read.</summary>
    public string? Sha256 { get; init; }

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

    /// <summary>What the metadata says of the training, by a word: made, trained, rates, settings, pictures, tags.</summary>
    public required IReadOnlyDictionary<string, string> Training { get; init; }

    /// <summary>‖ΔW‖ (Frobenius, strength 1) by component and block: unet down.0, …; empty where only the header was read.</summary>
    public required IReadOnlyDictionary<string, double> Norms { get; init; }

    /// <summary>The same by block and what the modules are a part of: attention, feedforward, convolution, other.</summary>
    public required IReadOnlyDictionary<string, IReadOnlyDictionary<string, double>> NormsByPart { get; init; }

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
        text.Append(CultureInfo.InvariantCulture, $"{File}   {Size()}{(Sha256 is null ? "" : $"   sha256 {Sha256[..12]}…")}");
        Line("format", $"{Join(Formats, "none known")}, {Join(Types, "empty")}   kind {Join(Kinds, "none")}{Range("rank", Ranks)}{Range("alpha", Alphas)}{Range("scale", Scales)}");
        Line("base", (Base is null ? "nothing says" : $"{Base} ({BaseEvidence})") + MadeBy());
        if (Modules.Count > 0) Line("modules", string.Join(", ", Modules.Select(item => $"{Number(item.Value)} in {item.Key}")));
        if (Targets.Count > 0) Line("targets", string.Join(", ", Targets.Select(item => $"{item.Key} {Number(item.Value)}")));
        foreach (var (word, what) in Training) Line(word, what);
        if (Sha256 is null) Line("‖ΔW‖", $"not computed, nor the hash: only the header was read; --full reads all {Size()}");
        var name = Norms.Keys.Select(block => block.Length).DefaultIfEmpty().Max();
        foreach (var ((block, norm), i) in Norms.Select((item, i) => (item, i))) Line(i == 0 ? "‖ΔW‖" : "", $"{block.PadRight(name)} {Digits(norm),7} {Bar(norm)} {PartsOf(block)}".TrimEnd());
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

    private string MadeBy() => Metadata.TryGetValue("lowrank.version", out var version) ? $"   made by LowRank {version}" : "";

    /// <summary>A bar of eighths of letters, relative to the strongest block.</summary>
    private string Bar(double norm)
    {
        var most = Norms.Values.Where(double.IsFinite).DefaultIfEmpty().Max();
        if (!double.IsFinite(norm) || most <= 0) return (double.IsFinite(norm) ? "" : "?").PadRight(BarWidth);
        var eighths = (int)Math.Round(norm / most * BarWidth * 8);
        return (new string('█', eighths / 8) + (eighths % 8 == 0 ? "" : "▏▎▍▌▋▊▉"[eighths % 8 - 1])).PadRight(BarWidth);
    }

    private string PartsOf(string block) => NormsByPart[block] is { Count: > 1 } parts ? string.Join(", ", parts.Select(part => $"{Short(part.Key)} {Digits(part.Value)}")) : "";

    private static string Short(string part) => part switch { "attention" => "attn", "feedforward" => "ff", "convolution" => "conv", _ => part };

    private static string Digits(double value) => value.ToString("G3", CultureInfo.InvariantCulture);

    private static string Join(IReadOnlyList<string> values, string none) => values.Count > 0 ? string.Join(" and ", values) : none;

    private static string Range<T>(string word, IReadOnlyList<T> values) where T : IFormattable => values.Count switch
    {
        0 => "",
        1 => $"   {word} {Number(values[0])}",
        _ => $"   {word} {Number(values[0])} to {Number(values[^1])}",
    };

    private static string Number<T>(T value) where T : IFormattable => value.ToString(value is double ? "G4" : null, CultureInfo.InvariantCulture);
}
