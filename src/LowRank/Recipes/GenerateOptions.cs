using System.Globalization;
using LowRank.Families;

namespace LowRank.Recipes;

/// <summary>What pictures to make, with what, and where to.</summary>
public sealed record GenerateOptions : PictureOptions
{
    /// <summary>The base model: <c>icons-64</c> (embedded), a folder in the diffusers layout, or a checkpoint of one file.</summary>
    public required string Model { get; init; }

    /// <summary>How the model's files are read. Unset: as usual.</summary>
    public ModelFileOptions? ModelFile { get; init; }

    /// <summary>Adapters to attach, each with a strength; files, or names in <see cref="AdapterFolder"/>.</summary>
    public IReadOnlyList<AdapterUse> Adapters { get; init; } = [];

    /// <summary>Where adapters are looked for that the prompt names: <c>&lt;lora:name:0.8&gt;</c>. Unset: only those that come with the program are known by name.</summary>
    public string? AdapterFolder { get; init; }

    /// <summary>Learned tokens (textual inversion) that prompts may name. Those that an adapter's file holds can be named without being listed here.</summary>
    public IReadOnlyList<EmbeddingUse> Embeddings { get; init; } = [];

    /// <summary>Where embeddings are looked for that prompts name by their file name, or as <c>embedding:name</c>. Only those are read.</summary>
    public string? EmbeddingFolder { get; init; }

    /// <summary>Strengths at which every picture is drawn with one of the adapters, in place of its own; a sheet shows them side by side. Empty: no sweep.</summary>
    public IReadOnlyList<double> Sweep { get; init; } = [];

    /// <summary>Name of the adapter whose strength the sweep changes. Unset: the first.</summary>
    public string? SweepAdapter { get; init; }

    /// <summary>How many pictures; of a sweep, at each strength.</summary>
    public int Count { get; init; } = 1;

    /// <summary>Folder for the pictures; made when absent.</summary>
    public required string Output { get; init; }

    /// <summary>Arithmetic of the model.</summary>
    public Training.Precision Precision { get; init; } = Training.Precision.Fp32;

    /// <summary>Attach what fits of adapters that have keys for modules this model lacks, instead of refusing them.</summary>
    public bool AllowUnmatched { get; init; }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(!string.IsNullOrWhiteSpace(Model), $"model: empty; must be icons-64, a model folder or a checkpoint file");
        Check(!string.IsNullOrWhiteSpace(Output), $"output: empty; must be a folder");
        problems.AddRange(base.Validate());
        Check(Count >= 1, $"count: {Count}; must be 1 or more");
        problems.AddRange(Adapters.Select(use => use.Problem()).OfType<string>().Select(problem => "adapter: " + problem));
        foreach (var (name, folder) in new[] { ("adapter-folder", AdapterFolder), ("embedding-folder", EmbeddingFolder) })
        {
            if (NamedFiles.ProblemOf(folder) is { } problem) problems.Add($"{name}: {problem}");
        }
        foreach (var strength in Sweep.Where(strength => !double.IsFinite(strength))) Check(false, $"sweep: {strength}; must be numbers");
        Check(Sweep.Distinct().Count() == Sweep.Count, $"sweep: {string.Join(',', Sweep.Select(strength => strength.ToString(CultureInfo.InvariantCulture)))}; each strength may stand in it once");
        Check(SweepAdapter is null || Sweep.Count > 0, $"sweep-adapter: {SweepAdapter}; give --sweep too");
        return problems;
    }
}
