using System.Globalization;
using System.Text;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>What came of verifying an adapter.</summary>
public enum AdapterVerdict
{
    /// <summary>Everything holds.</summary>
    Good,

    /// <summary>The file is in order, and made for another model.</summary>
    Mismatched,

    /// <summary>The file is damaged, of a kind that is not read, or does not do on its model what it says.</summary>
    Unusable,
}

/// <summary>What an adapter does to the outputs of one part of a model; lengths are Euclidean, of all numbers of the output.</summary>
public sealed class AdapterTrial
{
    internal AdapterTrial() { }

    /// <summary>denoiser, or text for the text encoders.</summary>
    public required string Part { get; init; }

    /// <summary>Length of what attaching the adapter changes, as a part of the length of the base's output.</summary>
    public required double Change { get; init; }

    /// <summary>Length of the difference between attached and merged into the weights, as a part of the same.</summary>
    public required double MergeDifference { get; init; }

    /// <summary>How much of that is allowed: 10⁻³ of the change and 10⁻⁵ of the output, which float32 rounds away on its way through a network.</summary>
    public required double AllowedDifference { get; init; }

    /// <summary>Whether strength 0 gives the base's output, bit for bit.</summary>
    public required bool StrengthZeroIsBase { get; init; }

    /// <summary>Whether taking the adapter off gives the base's output, bit for bit.</summary>
    public required bool DetachedIsBase { get; init; }

    internal IEnumerable<string> Trouble
    {
        get
        {
            if (Change == 0) yield return $"{Part}: attached, it changes nothing of the output";
            else if (!double.IsFinite(Change)) yield return $"{Part}: the output with the adapter is not finite; its changes are too large for the model";
            else if (!(MergeDifference <= AllowedDifference)) yield return $"{Part}: merged into the weights it gives another output than attached: {Percent(MergeDifference)} apart, {Percent(AllowedDifference)} would be rounding";
            if (!StrengthZeroIsBase) yield return $"{Part}: strength 0 does not give the base's output";
            if (!DetachedIsBase) yield return $"{Part}: taken off, the model does not give what it gave before";
        }
    }

    /// <summary>The trial as a line to read.</summary>
    public override string ToString() => $"the output changes by {Percent(Change)}; merged gives the same within {Percent(MergeDifference)} (allowed {Percent(AllowedDifference)}); "
        + $"strength 0 {Exactly(StrengthZeroIsBase)}; detached {Exactly(DetachedIsBase)}";

    private static string Exactly(bool holds) => holds ? "exactly the base" : "NOT the base";

    /// <summary>Three digits, without an exponent.</summary>
    private static string Percent(double part) => double.IsFinite(part) && Math.Abs(part) < 1e6
        ? ((decimal)double.Parse((100 * part).ToString("G3", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture)).ToString("0.############", CultureInfo.InvariantCulture) + " %"
        : (100 * part).ToString("G3", CultureInfo.InvariantCulture) + " %";
}

/// <summary>Whether an adapter file works on a model, and how that was found out.</summary>
public sealed class AdapterVerification
{
    private readonly List<string> trouble = [];

    internal AdapterVerification() { }

    /// <summary>The adapter's path.</summary>
    public string File { get; internal set; } = "";

    /// <summary>The model as it was named, and its family.</summary>
    public string Model { get; internal set; } = "";

    /// <summary>The whole in one word.</summary>
    public AdapterVerdict Verdict { get; private set; }

    /// <summary>Keys of modules in the file; all land where the verdict is good.</summary>
    public int Keys { get; internal set; }

    /// <summary>Modules by component, where all have their layer in the model; else empty.</summary>
    public IReadOnlyDictionary<string, int> Modules { get; internal set; } = new Dictionary<string, int>();

    /// <summary>The smallest ‖ΔW‖ (Frobenius) of a module; null where nothing was computed.</summary>
    public double? LeastNorm { get; internal set; }

    /// <summary>The largest.</summary>
    public double? LargestNorm { get; internal set; }

    /// <summary>Modules whose ΔW is zero: component and path.</summary>
    public IReadOnlyList<string> Dead { get; internal set; } = [];

    /// <summary>Input of the trials, in words; null where there were none.</summary>
    public string? TriedOn { get; internal set; }

    /// <summary>What it does to the denoiser and to the text encoders, where it has parts for them.</summary>
    public IReadOnlyList<AdapterTrial> Trials { get; internal set; } = [];

    /// <summary>Models that a mismatched file fits as a whole, of those whose layers are known without their weights.</summary>
    public IReadOnlyList<string> FitsInstead { get; internal set; } = [];

    /// <summary>What one may not expect, and need not mind.</summary>
    public IReadOnlyList<string> Warnings { get; internal set; } = [];

    /// <summary>What is wrong; empty for a good adapter.</summary>
    public IReadOnlyList<string> Trouble => trouble;

    /// <summary>The report as one JSON document, keys in snake_case.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, HubJson.Own);

    /// <summary>The report as lines to read.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(File);
        Line("model", Model);
        if (Modules.Count > 0) Line("keys", string.Create(CultureInfo.InvariantCulture, $"all {Keys} land: {string.Join(", ", Modules.Select(item => $"{item.Value} modules in {item.Key}"))}"));
        if (LeastNorm is not null) Line("‖ΔW‖", $"{Number(LeastNorm)} to {Number(LargestNorm)}{(Dead.Count > 0 ? string.Create(CultureInfo.InvariantCulture, $"; {Dead.Count} change nothing: {AdapterFile.Some(Dead.ToList())}") : ", none is zero")}");
        foreach (var trial in Trials) Line(trial.Part, trial.ToString());
        if (TriedOn is not null) Line("tried on", TriedOn);
        Lines("warning", Warnings);
        Lines("trouble", Trouble);
        if (FitsInstead.Count > 0) Line("it fits", string.Join(", ", FitsInstead));
        Line("verdict", Verdict switch
        {
            AdapterVerdict.Good => "good: it lands whole, changes the model, and merges as it attaches",
            AdapterVerdict.Mismatched => "mismatched: the file is in order, and made for another model",
            _ => "unusable: see trouble",
        });
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");

        void Lines(string word, IReadOnlyList<string> items)
        {
            foreach (var (line, i) in items.SelectMany(item => item.Split('\n')).Select((line, i) => (line, i))) Line(i == 0 ? word : "", line);
        }
    }

    internal void Refuse(AdapterVerdict verdict, string why)
    {
        Verdict = verdict;
        trouble.Add(why);
    }

    private static string Number(double? value) => value!.Value.ToString("G3", CultureInfo.InvariantCulture);
}
