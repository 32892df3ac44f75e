using System.Globalization;
using System.Text;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>How far a recipe that goes from layer to layer is.</summary>
public sealed class LayerProgress
{
    internal LayerProgress(int done, int layers, string layer) => (Done, Layers, Layer) = (done, layers, layer);

    /// <summary>Layers that are finished.</summary>
    public int Done { get; }

    /// <summary>How many there are.</summary>
    public int Layers { get; }

    /// <summary>The one that is next, as <c>unet.mid_block…</c>; empty at the end.</summary>
    public string Layer { get; }
}

/// <summary>One layer of an adapter that was computed.</summary>
public sealed class WrittenModule
{
    internal WrittenModule() { }

    /// <summary>Component and path: <c>unet.mid_block.attentions.0.proj_in</c>.</summary>
    public required string Module { get; init; }

    /// <summary>Its part of the model: <c>unet.mid_block</c>.</summary>
    public required string Block { get; init; }

    /// <summary>Inner size of its factors.</summary>
    public required int Rank { get; init; }

    /// <summary>‖ΔW‖ (Frobenius) that was wanted.</summary>
    public required double Norm { get; init; }

    /// <summary>‖written − wanted‖ / ‖wanted‖, with everything that was done to it: cutting, clamping, rounding to the file's type.</summary>
    public required double Error { get; init; }

    /// <summary>Energy kept by the rank alone: Σ kept σ² / Σ σ², 0 to 1.</summary>
    public required double Energy { get; init; }
}

/// <summary>An adapter that was computed and written: what it holds, and how near it comes to what it should hold.</summary>
public sealed class WrittenAdapter
{
    private const int Worst = 5;

    internal WrittenAdapter() { }

    /// <summary>The file.</summary>
    public required string Output { get; init; }

    /// <summary>Its size.</summary>
    public required long Bytes { get; init; }

    /// <summary>What was done, without folders: <c>svd of a.safetensors × 0.8 + b.safetensors</c>.</summary>
    public required string What { get; init; }

    /// <summary>The model that it is for, in words.</summary>
    public required string Base { get; init; }

    /// <summary>Its layers in the model's order.</summary>
    public required IReadOnlyList<WrittenModule> Modules { get; init; }

    /// <summary>Learned tokens in it.</summary>
    public required IReadOnlyList<string> Tokens { get; init; }

    /// <summary>What one may not expect: layers left out, tokens renamed.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>‖written − wanted‖ / ‖wanted‖ over all layers.</summary>
    public double Error => Overall(Modules, module => module.Error * module.Error, root: true);

    /// <summary>Energy kept over all layers.</summary>
    public double Energy => Modules.All(module => module.Norm == 0) ? 1 : Overall(Modules, module => module.Energy, root: false);

    /// <summary>As one JSON document, keys in snake_case.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, HubJson.Own);

    /// <summary>Lines to read: words of at most 9 letters, and what belongs to them.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"{Output}   {Size(Bytes)}"));
        Line("made by", What);
        Line("base", Base);
        Line("modules", string.Join(", ", Modules.GroupBy(module => module.Module[..module.Module.IndexOf('.', StringComparison.Ordinal)]).Select(group => $"{group.Count()} in {group.Key}")));
        Line("rank", RanksOf(Modules));
        Line("error", $"{Small(Error)} of ‖ΔW‖; energy kept {Share(Energy)}");
        Lines("blocks", [.. Modules.GroupBy(module => module.Block).Select(group => (group.Key, group.Count().ToString(CultureInfo.InvariantCulture), RanksOf([.. group]), Small(Overall([.. group], module => module.Error * module.Error, root: true)), Share(Overall([.. group], module => module.Energy, root: false))))], ("block", "modules", "rank", "error", "energy"));
        var worst = Modules.Where(module => Share(module.Energy) != "1").OrderByDescending(module => module.Error).Take(Worst).ToList();   // what is only rounded is not told of
        if (worst.Count > 0 && Modules.Count > 1) Lines("worst", [.. worst.Select(module => (module.Module, "", RanksOf([module]), Small(module.Error), Share(module.Energy)))], null);
        if (Tokens.Count > 0) Line("tokens", string.Join(", ", Tokens));
        foreach (var note in Notes) Line("note", note);
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");

        void Lines(string word, List<(string Name, string Count, string Rank, string Error, string Energy)> rows, (string Name, string Count, string Rank, string Error, string Energy)? head)
        {
            if (head is { } names) rows.Insert(0, names);
            var width = rows.Max(row => row.Name.Length);
            foreach (var (name, count, rank, error, energy) in rows)
            {
                Line(word, $"{name.PadRight(width)} {count,8} {rank,10} {error,10} {energy,10}".TrimEnd());
                word = "";
            }
        }
    }

    /// <summary>A file that is written, and what was computed for it.</summary>
    internal static WrittenAdapter Of(string output, string what, string model, IEnumerable<ComputedLayer> made, IEnumerable<string> tokens, IEnumerable<string> notes) => new()
    {
        Output = output,
        Bytes = new FileInfo(output).Length,
        What = what,
        Base = model,
        Modules = [.. made.Select(Module)],
        Tokens = [.. tokens],
        Notes = [.. notes],
    };

    private static WrittenModule Module(ComputedLayer computed) => new()
    {
        Module = $"{computed.Layer.Component}.{computed.Layer.Path}",
        Block = BlockNorms.BlockOf(computed.Layer.Component, computed.Layer.Path),
        Rank = computed.Layer.Rank,
        Norm = computed.Norm,
        Error = computed.Error,
        Energy = computed.Energy,
    };

    /// <summary>Mean over the layers, weighed by ‖wanted‖².</summary>
    private static double Overall(IReadOnlyList<WrittenModule> modules, Func<WrittenModule, double> value, bool root)
    {
        var whole = modules.Sum(module => module.Norm * module.Norm);
        var mean = whole == 0 ? modules.Average(value) : modules.Sum(module => value(module) * module.Norm * module.Norm) / whole;
        return root ? Math.Sqrt(mean) : mean;
    }

    private static string RanksOf(IReadOnlyList<WrittenModule> modules)
    {
        var (least, most) = (modules.Min(module => module.Rank), modules.Max(module => module.Rank));
        return string.Create(CultureInfo.InvariantCulture, $"{least}{(most > least ? $" to {most}" : "")}");
    }

    /// <summary>An error; what is below float32's rounding is none.</summary>
    private static string Small(double value) => value < 1e-6 ? "0" : value < 1e-4 ? "< 0.0001" : value.ToString("G3", CultureInfo.InvariantCulture);

    /// <summary>A share that is rounded to 1 only where it is as good as 1.</summary>
    private static string Share(double value) => value > 1 - 1e-6 ? "1" : value.ToString(value > 0.999 ? "F6" : "F4", CultureInfo.InvariantCulture);

    private static string Size(long bytes) => bytes >= 1_000_000
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:F1} kB");
}
