using LowRank.Foundation;

namespace LowRank.Adapters;

/// <summary>Conventions that are written.</summary>
public enum AdapterFormat
{
    /// <summary>sd-scripts' keys, which A1111, ComfyUI, diffusers and sd-scripts read.</summary>
    Kohya,

    /// <summary>PEFT's keys as diffusers reads them; the scale is folded into up, so that no alpha is needed.</summary>
    Peft,
}

/// <summary>How an adapter is written, and what its metadata says. Everything has a default.</summary>
public sealed class AdapterSaveOptions
{
    /// <summary>Convention of the keys. Default kohya.</summary>
    public AdapterFormat Format { get; init; } = AdapterFormat.Kohya;

    /// <summary>Element type: F16 (default), BF16 or F32. Numbers that do not fit are refused, not written as infinite.</summary>
    public StoredType Type { get; init; } = StoredType.F16;

    /// <summary>The base model in words.</summary>
    public string? Base { get; init; }

    /// <summary>What metadata calls the base: sd_v1, sd_v2, sd_v2_v, sdxl_base_v1-0.</summary>
    public string? BaseVersion { get; init; }

    /// <summary>Name shown by tools; unset: the file's.</summary>
    public string? Title { get; init; }

    /// <summary>The targets as the options named them.</summary>
    internal IReadOnlyList<string> Targets { get; init; } = [];

    /// <summary>Pixels, width and height, it was trained with.</summary>
    internal (int Width, int Height)? Resolution { get; init; }

    /// <summary>epsilon or v.</summary>
    internal string? PredictionType { get; init; }

    /// <summary>Seed of the training.</summary>
    internal long? Seed { get; init; }

    /// <summary>Optimizer steps done.</summary>
    internal int? Steps { get; init; }

    /// <summary>Learned tokens to bundle with the adapter.</summary>
    internal IReadOnlyList<Embedding> Embeddings { get; init; } = [];

    /// <summary>More that files of sd-scripts say of their training, by its keys (<c>ss_…</c>).</summary>
    internal IReadOnlyDictionary<string, string> Facts { get; init; } = new Dictionary<string, string>();

    /// <summary>The resolved options of the training, as text.</summary>
    internal string? Options { get; init; }
}
