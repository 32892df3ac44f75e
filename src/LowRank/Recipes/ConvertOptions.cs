using LowRank.Adapters;

namespace LowRank.Recipes;

/// <summary>What to convert, to what, and how it is stored.</summary>
public sealed record ConvertOptions
{
    /// <summary>The adapter, or a file of learned tokens: any convention that is read; a file, or a folder that PEFT or diffusers wrote.</summary>
    public required string Input { get; init; }

    /// <summary>What is written: a <c>.safetensors</c> file; a folder for <see cref="WrittenConvention.Peft"/>; a <c>.pt</c> for the lists of <see cref="WrittenConvention.Legacy"/>.</summary>
    public required string Output { get; init; }

    /// <summary>The convention.</summary>
    public required WrittenConvention To { get; init; }

    /// <summary>Type of the numbers; null (default): every tensor keeps its own. What is rounded is told.</summary>
    public SavePrecision? Precision { get; init; }

    /// <summary>
    /// The model that the adapter is for: a folder in the diffusers layout, or <c>icons-64</c>. Null (default): found among the published models by names and shapes.
    /// Where it is given, a file that is of the convention already gets the names that its trainer writes for that model.
    /// </summary>
    public string? Model { get; init; }

    /// <summary>Whether what tells of the training pictures is left out of the metadata: captions (<c>ss_tag_frequency</c>), folders, remarks, the recipe. Default false.</summary>
    public bool StripCaptions { get; init; }
}
