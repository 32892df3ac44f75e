namespace LowRank.Recipes;

/// <summary>Which adapter is looked at, and what is done about what is found.</summary>
public sealed record DoctorOptions
{
    /// <summary>The adapter: any convention that is read; a file, or a folder that PEFT or diffusers wrote.</summary>
    public required string File { get; init; }

    /// <summary>Whether to repair what can be repaired without guessing. Default false: only say what is found.</summary>
    public bool Fix { get; init; }

    /// <summary>The repaired file, <c>.safetensors</c>; null (default): in the file's own place, which is kept as <c>FILE.bak</c>.</summary>
    public string? Output { get; init; }

    /// <summary>Whether repairing leaves out modules with numbers that are none. Default false: they are told of only, as without them the pictures are others.</summary>
    public bool DropNotFinite { get; init; }

    /// <summary>The model that the adapter is for, a folder or <c>icons-64</c>, whose names and shapes are the right ones. Null (default): found among the published models.</summary>
    public string? Model { get; init; }
}
