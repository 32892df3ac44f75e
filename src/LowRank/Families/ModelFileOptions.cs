using LowRank.Hub;

namespace LowRank.Families;

/// <summary>What the denoiser of a checkpoint of one file predicts.</summary>
public enum FilePrediction
{
    /// <summary>The noise, as Stable Diffusion 1 and XL, and the 512 px base of 2.</summary>
    Epsilon,
    /// <summary>The velocity, as Stable Diffusion 2 at 768 px.</summary>
    VPrediction,
}

/// <summary>
/// How a model's files are read, where they do not say it themselves: the recipe's <c>[model_file]</c>. Folders need none of it but <see cref="Variant"/>;
/// checkpoints of one file hold weights and no configurations and no tokenizer.
/// </summary>
public sealed record ModelFileOptions
{
    /// <summary>Folder with the tokenizer of a checkpoint of one file: <c>vocab.json</c> and <c>merges.txt</c>, or <c>tokenizer.json</c>, in it or in its folders <c>tokenizer</c> and <c>tokenizer_2</c>. Unset: looked for beside the file, and then in the cache of the hub (<c>openai/clip-vit-large-patch14</c>).</summary>
    public string? Tokenizer { get; init; }

    /// <summary>Folder with configurations in the diffusers layout (<c>unet/config.json</c>, …) for a checkpoint of one file. Unset: found by the shapes of its tensors.</summary>
    public string? Config { get; init; }

    /// <summary>What the denoiser of a checkpoint of one file predicts. Unset: what the file says, else what is usual for its family, which is told.</summary>
    public FilePrediction? PredictionType { get; init; }

    /// <summary>Take the averaged weights (EMA) of a checkpoint of one file that has both, instead of the last ones.</summary>
    public bool Ema { get; init; }

    /// <summary>Which weights of a folder are read: <c>fp16</c> for <c>model.fp16.safetensors</c>. Unset: full precision, else fp16.</summary>
    public string? Variant { get; init; }

    /// <summary>The cache that the tokenizer of a checkpoint of one file is looked for in, at last; null: the one that the environment names.</summary>
    internal HubOptions? Hub { get; init; }

    /// <summary>Those that are set and that only a file needs.</summary>
    internal IEnumerable<string> ForFiles
    {
        get
        {
            if (Tokenizer is not null) yield return "tokenizer";
            if (Config is not null) yield return "config";
            if (PredictionType is not null) yield return "prediction type";
            if (Ema) yield return "ema";
        }
    }
}
