using System.Globalization;
using System.Text;
using LowRank.Adapters;
using LowRank.Adapters.Formats;

namespace LowRank.Recipes;

/// <summary>What was converted and what is not as it was.</summary>
public sealed class ConvertReport
{
    internal ConvertReport()
    {
    }

    /// <summary>What was read, as it was named.</summary>
    public required string Input { get; init; }

    /// <summary>What it looked like: conventions and ranks.</summary>
    public required string From { get; init; }

    /// <summary>What it was converted to.</summary>
    public required WrittenConvention Convention { get; init; }

    /// <summary>The model whose layers gave the names; null where none were needed.</summary>
    public required string? Base { get; init; }

    /// <summary>All files that were written.</summary>
    public required IReadOnlyList<string> Files { get; init; }

    /// <summary>What is not as it was, one line each; empty where every tensor passed as it is.</summary>
    public required IReadOnlyList<string> Changes { get; init; }

    /// <summary>The report as lines to read.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(Files[0]);
        Line("from", $"{Input} ({From})");
        Line("to", Convention.InWords() + (Base is null ? "" : $", names of {Base}"));
        for (var i = 1; i < Files.Count; i++) Line(i == 1 ? "also" : "", Files[i]);
        for (var i = 0; i < Changes.Count; i++) Line(i == 0 ? "changed" : "", Changes[i]);
        if (Changes.Count == 0) Line("changed", "nothing: it is of that convention");
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");
    }
}
