using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Adapters;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>One of two files that were compared.</summary>
public sealed class ComparedFile
{
    internal ComparedFile() { }

    /// <summary>Its path.</summary>
    public required string File { get; init; }

    /// <summary>Keys and ranks in words.</summary>
    public required string Looks { get; init; }
}

/// <summary>How large the numbers of a factor are.</summary>
public sealed class FactorExtent
{
    internal FactorExtent() { }

    /// <summary>The largest without its sign, as the file holds it.</summary>
    public required double Largest { get; init; }

    /// <summary>How many are exactly as large; many where they were clamped.</summary>
    public required long AtLargest { get; init; }
}

/// <summary>What one of two files does to a layer.</summary>
public sealed class ComparedModule
{
    internal ComparedModule() { }

    /// <summary>LoRA, LoHa, ….</summary>
    public required string Kind { get; init; }

    /// <summary>Inner size r of the factors.</summary>
    public required int Rank { get; init; }

    /// <summary>Numerator of the scale alpha / rank.</summary>
    public required double Alpha { get; init; }

    /// <summary>‖ΔW‖ (Frobenius, strength 1).</summary>
    public required double Norm { get; init; }

    /// <summary>Whether it changes nothing.</summary>
    public bool Dead => Norm == 0;

    /// <summary>Of ΔW, largest first, as many as the rank; null for kinds that are no plain product.</summary>
    public IReadOnlyList<double>? SingularValues { get; init; }

    /// <summary>‖ΔW‖² / largest singular value²: how many directions carry the change; 0 for a dead module, null without singular values.</summary>
    public double? StableRank { get; init; }

    /// <summary>Its factors by the file's word for them.</summary>
    public required IReadOnlyDictionary<string, FactorExtent> Factors { get; init; }
}

/// <summary>How far apart two files are in one module.</summary>
public sealed class ModuleDifference
{
    internal ModuleDifference() { }

    /// <summary>As the first file names it; as the second where only that has it.</summary>
    public required string Module { get; init; }

    /// <summary>Of the first file; null where it lacks the module.</summary>
    public ComparedModule? First { get; init; }

    /// <summary>Of the second file.</summary>
    public ComparedModule? Second { get; init; }

    /// <summary>‖ΔA − ΔB‖ (Frobenius); a module that one file lacks counts as zero.</summary>
    public required double Distance { get; init; }

    /// <summary>⟨ΔA, ΔB⟩ / (‖ΔA‖ ‖ΔB‖); null where either is zero or missing.</summary>
    public double? Cosine => First is { Dead: false } && Second is { Dead: false } ? Dot / (First.Norm * Second.Norm) : null;

    /// <summary>Cosines of the principal angles between the inputs that both read (row spaces of the down factors), largest first; null where one is missing or no plain product.</summary>
    public IReadOnlyList<double>? InputCosines { get; init; }

    [JsonIgnore]
    internal double Dot { get; init; }

    [JsonIgnore]
    internal ModulePlace Place { get; init; } = null!;
}

/// <summary>How far apart two adapters are.</summary>
public sealed class AdapterDifference
{
    private const int Shown = 8;

    /// <summary>What float32 factors leave of a difference between two equal changes.</summary>
    private const double Rounding = 1e-6;

    internal AdapterDifference() { }

    /// <summary>The first file.</summary>
    public required ComparedFile First { get; init; }

    /// <summary>The second file.</summary>
    public required ComparedFile Second { get; init; }

    /// <summary>The model by whose layers modules were matched; null where the files name them alike.</summary>
    public string? Base { get; init; }

    /// <summary>‖ΔA‖ over all modules.</summary>
    public double FirstNorm => Length(module => module.First?.Norm ?? 0);

    /// <summary>‖ΔB‖ over all modules.</summary>
    public double SecondNorm => Length(module => module.Second?.Norm ?? 0);

    /// <summary>‖ΔA − ΔB‖ over all modules; those that one file lacks count as zero there.</summary>
    public double Distance => Length(module => module.Distance);

    /// <summary>⟨ΔA, ΔB⟩ / (‖ΔA‖ ‖ΔB‖) over all modules; null where either is zero.</summary>
    public double? Cosine => CosineOf(Modules);

    /// <summary>Every module of either file, the first file's first.</summary>
    public required IReadOnlyList<ModuleDifference> Modules { get; init; }

    /// <summary>Keys of metadata that differ, or that one file lacks.</summary>
    public required IReadOnlyList<string> Metadata { get; init; }

    /// <summary>Whether both are the same change but for rounding.</summary>
    public bool IsSame => Distance <= Rounding * Math.Max(FirstNorm, SecondNorm);

    /// <summary>The report as one JSON document, keys in snake_case; a number that is none as "NaN".</summary>
    public string ToJson() => JsonSerializer.Serialize(this, HubJson.Own);

    /// <summary>The report as lines to read.</summary>
    public override string ToString()
    {
        var text = new StringBuilder($"{First.File} (A) and {Second.File} (B)");
        Line("A", $"{First.Looks}   ‖ΔA‖ {Number(FirstNorm)}");
        Line("B", $"{Second.Looks}   ‖ΔB‖ {Number(SecondNorm)}");
        if (Base is not null) Line("base", $"{Base}: modules are matched by its layers");
        var both = Modules.Where(module => module is { First: not null, Second: not null }).ToList();
        Line("modules", string.Create(CultureInfo.InvariantCulture, $"{both.Count} in both{Only("A", module => module.Second is null)}{Only("B", module => module.First is null)}"));
        Line("apart", $"‖ΔA − ΔB‖ {Number(Distance)}   cosine {Cosined(Cosine)}{(IsSame ? "   the same change, but for rounding" : "")}");
        foreach (var note in Notes(both)) Line("", note);
        Table("by block", Modules.OrderBy(module => module.Place.Order, StringComparer.Ordinal).GroupBy(module => module.Place.InWords).Select(block => (block.Key, block.ToList())));
        if (!IsSame) Table("furthest", Modules.OrderByDescending(module => module.Distance).Take(Shown).Where(module => module.Distance > 0).Select(module => (module.Place.Shorten(module.Module), new List<ModuleDifference> { module })));
        if (Metadata.Count > 0) Line("metadata", $"differs in {AdapterFile.Some(Metadata.ToList())}");
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");

        void Table(string word, IEnumerable<(string Name, List<ModuleDifference> Modules)> rows)
        {
            var first = true;
            foreach (var (name, modules) in rows)
            {
                if (first) Line(word, $"{"‖ΔA‖",7} {"‖ΔB‖",7} {"apart",7} {"cosine",7}");
                first = false;
                Line("", $"{Number(Length(modules, module => module.First?.Norm ?? 0)),7} {Number(Length(modules, module => module.Second?.Norm ?? 0)),7} {Number(Length(modules, module => module.Distance)),7} {Cosined(CosineOf(modules)),7}  {name}");
            }
        }
    }

    private IEnumerable<string> Notes(List<ModuleDifference> both)
    {
        var ranks = both.Count(module => module.First!.Rank != module.Second!.Rank);
        var alphas = both.Count(module => module.First!.Alpha != module.Second!.Alpha);
        if (ranks + alphas > 0) yield return string.Create(CultureInfo.InvariantCulture, $"of these, ranks differ in {ranks}, alphas in {alphas}");
        foreach (var (name, side) in (IEnumerable<(string, Func<ModuleDifference, ComparedModule?>)>)[("A", module => module.First), ("B", module => module.Second)])
        {
            var dead = Modules.Where(module => side(module)?.Dead == true).Select(module => module.Module).ToList();
            if (dead.Count > 0) yield return $"{name} changes nothing in {AdapterFile.Some(dead)}";
            var broken = Modules.Where(module => side(module) is { } found && !double.IsFinite(found.Norm)).Select(module => module.Module).ToList();
            if (broken.Count > 0) yield return $"{name} is not finite in {AdapterFile.Some(broken)}";
        }
    }

    private string Only(string name, Func<ModuleDifference, bool> lacking)
    {
        var found = Modules.Where(lacking).Select(module => module.Module).ToList();
        return found.Count == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"; {found.Count} only in {name}: {AdapterFile.Some(found)}");
    }

    private double Length(Func<ModuleDifference, double> of) => Length(Modules, of);

    private static double Length(IEnumerable<ModuleDifference> modules, Func<ModuleDifference, double> of) => Math.Sqrt(modules.Sum(module => of(module) * of(module)));

    private static double? CosineOf(IReadOnlyList<ModuleDifference> modules)
    {
        var size = Length(modules, module => module.First?.Norm ?? 0) * Length(modules, module => module.Second?.Norm ?? 0);
        return size == 0 ? null : modules.Sum(module => module.Dot) / size;
    }

    private static string Number(double value) => value.ToString("G3", CultureInfo.InvariantCulture);

    private static string Cosined(double? value) => value is null ? "–" : value.Value.ToString("0.0000", CultureInfo.InvariantCulture);
}
