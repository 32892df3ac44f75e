namespace LowRank.Recipes;

/// <summary>Which adapters are written into which model, and where to.</summary>
public sealed record MergeOptions
{
    /// <summary>A folder in the layout of diffusers, a checkpoint of one file in the original layout, or icons-64, the embedded base. Never changed.</summary>
    public required string Model { get; init; }

    /// <summary>One or more, of any conventions and kinds, each with its strength (1 as trained; negative takes it away), and with strengths of parts and blocks.</summary>
    public required IReadOnlyList<AdapterUse> Adapters { get; init; }

    /// <summary>For a folder the folder to make, new or empty; for a file the <c>.safetensors</c> file to write. As large as the model.</summary>
    public required string Output { get; init; }

    /// <summary>Element type of all weights that are written. Unset: each as it is in the model.</summary>
    public SavePrecision? Precision { get; init; }

    /// <summary>Folder with configurations in the layout of diffusers for a checkpoint of one file. Unset: told by the shapes of its tensors.</summary>
    public string? Config { get; init; }

    /// <summary>Which weights of a folder are read: fp16 for <c>model.fp16.safetensors</c>. Unset: full precision, else fp16.</summary>
    public string? Variant { get; init; }

    /// <summary>Merge what fits when some modules of an adapter are not in the model, instead of refusing it; what is left out is in the report.</summary>
    public bool AllowUnmatched { get; init; }

    /// <summary>All that is wrong with the values by themselves, one line a problem.</summary>
    public IReadOnlyList<string> Validate() => [.. Problems()];

    private IEnumerable<string> Problems()
    {
        if (string.IsNullOrWhiteSpace(Model)) yield return "model: empty; must name a folder, a file or icons-64";
        if (string.IsNullOrWhiteSpace(Output)) yield return "output: empty; must name the folder or file to write";
        if (Adapters.Count == 0) yield return "adapters: none; must be one or more";
        foreach (var problem in Adapters.Select(use => use.Problem()).OfType<string>()) yield return $"adapters: {problem}";
    }
}
