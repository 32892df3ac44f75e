using System.Globalization;
using System.Text;
using System.Text.Json;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>How far a merge is.</summary>
public sealed class MergeProgress
{
    internal MergeProgress(int done, int tensors) => (Done, Tensors) = (done, tensors);

    /// <summary>Tensors that are written.</summary>
    public int Done { get; }

    /// <summary>How many there are.</summary>
    public int Tensors { get; }
}

/// <summary>One weight or bias that a merge changed.</summary>
public sealed class MergedWeight
{
    internal MergedWeight() { }

    /// <summary>Component and key: <c>unet.mid_block.attentions.0.proj_in.weight</c>.</summary>
    public required string Weight { get; init; }

    /// <summary>Its part of the model: <c>unet mid_block</c>.</summary>
    public required string Block { get; init; }

    /// <summary>‖Σ ΔW‖ (Frobenius), before it was rounded to the output's type.</summary>
    public required double Norm { get; init; }
}

/// <summary>A model that was written, and what in it is changed.</summary>
public sealed class MergeReport
{
    internal MergeReport() { }

    /// <summary>The folder or file.</summary>
    public required string Output { get; init; }

    /// <summary>Its size; of a folder, of all its files.</summary>
    public required long Bytes { get; init; }

    /// <summary>What was merged, without folders: <c>model + a.safetensors × 0.8 + b.safetensors × 1</c>.</summary>
    public required string What { get; init; }

    /// <summary>Every weight and bias that changed, in the order of the model's parts.</summary>
    public required IReadOnlyList<MergedWeight> Changed { get; init; }

    /// <summary>Tensors that were copied byte for byte.</summary>
    public required int Copied { get; init; }

    /// <summary>Tensors that were only converted to another type.</summary>
    public required int Converted { get; init; }

    /// <summary>What one may not expect: modules and embeddings left out, strengths of 0.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>‖Σ ΔW‖ over all weights.</summary>
    public double Norm => Length(Changed);

    /// <summary>As one JSON document, keys in snake_case.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, HubJson.Own);

    /// <summary>Lines to read: words of at most 9 letters, and what belongs to them.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"{Output}   {Bytes / 1e6:F1} MB"));
        Line("merged", What);
        var parts = Changed.GroupBy(weight => weight.Weight[..weight.Weight.IndexOf('.', StringComparison.Ordinal)]).Select(group => string.Create(CultureInfo.InvariantCulture, $"{group.Count()} in {group.Key}"));
        Line("changed", Changed.Count == 0 ? "nothing" : string.Create(CultureInfo.InvariantCulture, $"{string.Join(", ", parts)}; ‖ΔW‖ {Norm:G4}"));
        Line("copied", string.Create(CultureInfo.InvariantCulture, $"{Copied}{(Converted > 0 ? $", and {Converted} in another type" : "")}"));
        var blocks = Changed.GroupBy(weight => weight.Block).ToList();
        var width = blocks.Select(block => block.Key.Length).DefaultIfEmpty().Max();
        foreach (var (block, i) in blocks.Select((block, i) => (block, i))) Line(i == 0 ? "blocks" : "", string.Create(CultureInfo.InvariantCulture, $"{block.Key.PadRight(width)} {block.Count(),5} {Length(block),12:G4}"));
        foreach (var warning in Warnings) Line("note", warning);
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");
    }

    private static double Length(IEnumerable<MergedWeight> weights) => Math.Sqrt(weights.Sum(weight => weight.Norm * weight.Norm));
}
