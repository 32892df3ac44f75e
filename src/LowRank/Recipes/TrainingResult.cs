namespace LowRank.Recipes;

/// <summary>What a training run left behind, whatever its method.</summary>
public sealed record TrainingResult
{
    /// <summary>True when all steps were made, false when the run was stopped; it can be resumed then.</summary>
    public required bool Finished { get; init; }

    /// <summary>Updates made.</summary>
    public required long Steps { get; init; }

    /// <summary>Wall time, model loading and previews included.</summary>
    public required double Seconds { get; init; }

    /// <summary>
    /// The file with everything that was trained; of a stopped run the one that was saved last. For methods that train whole models the model's folder;
    /// of a stopped run that which was saved last, or the folder of what a resume needs.
    /// </summary>
    public required string Adapter { get; init; }

    /// <summary>A file for each learned token, for tools that want them alone; empty for methods without tokens, and for a stopped run.</summary>
    public IReadOnlyList<string> Embeddings { get; init; } = [];

    /// <summary>The same prompts and seeds before and after; null when the run was stopped or previews are switched off.</summary>
    public required string? BeforeAfter { get; init; }

    /// <summary>The plot of the loss.</summary>
    public required string LossPlot { get; init; }

    /// <summary>The page about the run: opens from disk in any browser.</summary>
    public required string Report { get; init; }

    /// <summary>A prompt to try; null when previews are switched off.</summary>
    public required string? ExamplePrompt { get; init; }
}
