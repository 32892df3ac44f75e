namespace LowRank.Families;

/// <summary>A part that a model's index names, and what was found of it.</summary>
public sealed class ModelPart
{
    internal ModelPart(string name, string kind) => (Name, Class) = (name, kind);

    /// <summary>Its name in the index and of its folder: unet, vae, text_encoder, …</summary>
    public string Name { get; }

    /// <summary>The published class that the index names.</summary>
    public string Class { get; }

    /// <summary>The file of weights, or the index of several; null for parts without weights, and where none was found.</summary>
    public string? File { get; internal set; }

    /// <summary>Tensors in it.</summary>
    public int Tensors { get; internal set; }

    /// <summary>Numbers in them.</summary>
    public long Numbers { get; internal set; }

    /// <summary>Bytes of them.</summary>
    public long Bytes { get; internal set; }

    /// <summary>How they are stored: F16, F32, …, the most frequent first.</summary>
    public IReadOnlyList<string> Types { get; internal set; } = [];

    /// <summary>What is wrong with it; empty for a part that is whole.</summary>
    public IReadOnlyList<string> Trouble { get; internal set; } = [];
}
