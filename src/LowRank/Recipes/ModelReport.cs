using System.Globalization;
using System.Text;
using LowRank.Families;

namespace LowRank.Recipes;

/// <summary>What a model's folder holds and what is wrong with it.</summary>
public sealed class ModelReport
{
    internal ModelReport()
    {
    }

    /// <summary>The folder or file, in full.</summary>
    public required string Folder { get; init; }

    /// <summary>What the model is, in words; null where it could not be opened.</summary>
    public required string? Description { get; init; }

    /// <summary>How a checkpoint of one file was understood, one a line; empty for folders, which say everything.</summary>
    public IReadOnlyList<string> Findings { get; init; } = [];

    /// <summary>The parts that its index names, in its order.</summary>
    public required IReadOnlyList<ModelPart> Parts { get; init; }

    /// <summary>What a picture drawn in one step showed; null where parts were not fit for it.</summary>
    public required string? Trial { get; init; }

    /// <summary>All that is wrong, part by part, then what the parts disagree in.</summary>
    public required IReadOnlyList<string> Trouble { get; init; }

    /// <summary>Whether nothing is wrong.</summary>
    public bool IsWhole => Trouble.Count == 0;

    /// <summary>The report as lines to read.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(Folder);
        Line("model", Description ?? "could not be opened");
        for (var i = 0; i < Findings.Count; i++) Line(i == 0 ? "found" : "", Findings[i]);
        for (var i = 0; i < Parts.Count; i++) Line(i == 0 ? "parts" : "", InWords(Parts[i]));
        if (Trial is not null) Line("trial", Trial);
        for (var i = 0; i < Trouble.Count; i++) Line(i == 0 ? "trouble" : "", Trouble[i].ReplaceLineEndings("; ").Replace(";   ", "; ", StringComparison.Ordinal));
        Line("verdict", IsWhole ? "whole: every name, shape and number is there that this layout asks for" : string.Create(CultureInfo.InvariantCulture, $"not usable as it is: {Trouble.Count} {(Trouble.Count == 1 ? "problem" : "problems")}"));
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");
    }

    private static string InWords(ModelPart part) => part.File is null
        ? $"{part.Name} ({part.Class})"
        : string.Create(CultureInfo.InvariantCulture, $"{part.Name} ({part.Class}): {part.Numbers / 1e6:F2} M numbers in {part.Tensors} tensors, {string.Join(" and ", part.Types)}, {part.Bytes / 1e6:F1} MB in {Path.GetFileName(part.File)}");
}
