using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>How an adapter file is put on a model. Everything has a default.</summary>
public sealed class AdapterLoadOptions
{
    /// <summary>Factor of every delta; 1 as trained (default), 0 the base itself.</summary>
    public double Strength { get; init; } = 1;

    /// <summary>Load what fits when some modules of the file are not in the model; what is left out is in <see cref="AdapterSet.Warnings"/>. Default false: an error.</summary>
    public bool AllowUnmatched { get; init; }

    /// <summary>The caller uses the learned tokens of the file too: no warning that they are left out.</summary>
    internal bool EmbeddingsAreUsed { get; init; }

    /// <summary>What the model is, in words, for messages: <c>sd15/ (Stable Diffusion 1)</c>.</summary>
    internal string? Model { get; init; }

    /// <summary>What adapter metadata calls the model (sd_v1, sdxl_base_v1-0, …): a file that says otherwise gives a warning.</summary>
    internal string? BaseVersion { get; init; }

    /// <summary>Where the model lies; unset: the CPU.</summary>
    public Device? Device { get; init; }
}
