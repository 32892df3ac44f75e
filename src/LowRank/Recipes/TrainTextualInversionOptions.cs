using LowRank.Data;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>Everything a textual inversion can be told: the recipe file with <c>method = "textual-inversion"</c>, key for key.</summary>
public sealed record TrainTextualInversionOptions : IRunOptions
{
    /// <summary>What is trained; this record is for <c>textual-inversion</c>.</summary>
    public TrainingMethod Method { get; init; } = TrainingMethod.TextualInversion;

    /// <summary>The base model: <c>icons-64</c> (embedded) or a folder in the diffusers layout.</summary>
    public required string Model { get; init; }

    /// <summary>How the model's files are read. Unset: as usual.</summary>
    public ModelFileOptions? ModelFile { get; init; }

    /// <summary>Run folder; made when absent. A folder that already holds a run is refused.</summary>
    public required string Output { get; init; }

    /// <summary>Seed of every random stream. The same seed, options, data and machine give the same bytes.</summary>
    public long Seed { get; init; }

    /// <summary>What texts the pictures are learned with.</summary>
    public CaptionTemplate Template { get; init; }

    /// <summary>
    /// The norm rule of the package of 2022: after every update each vector is pulled to this length by min(1, 100 · learning rate) of the way; 0 is off.
    /// The package has 0.4, which suits Stable Diffusion 1.
    /// </summary>
    public double TokenNorm { get; init; }

    /// <summary>Folders of pictures.</summary>
    public required IReadOnlyList<DataSetOptions> Data { get; init; }

    /// <summary>Holes, for inpainting models. Unset: the model is none.</summary>
    public InpaintingOptions? Inpainting { get; init; }

    /// <summary>The words to learn.</summary>
    public required IReadOnlyList<LearnedTokenOptions> Tokens { get; init; }

    /// <summary>How they are trained.</summary>
    public TrainingOptions Training { get; init; } = new();

    /// <summary>How far off a prediction is, and what counts how much.</summary>
    public LossOptions Loss { get; init; } = new();

    /// <summary>Noise and timesteps that are trained on.</summary>
    public NoiseOptions Noise { get; init; } = new();

    /// <summary>Pictures made while training.</summary>
    public PreviewOptions Preview { get; init; } = new();

    /// <summary>How pictures that are not trained on are measured.</summary>
    public ValidationOptions Validation { get; init; } = new();

    /// <summary>How they are written.</summary>
    public EmbeddingSaveOptions Embeddings { get; init; } = new();

    /// <summary>Reads a recipe file.</summary>
    /// <param name="path">The TOML file. Data folders in it are relative to it; the output folder is relative to where the program runs.</param>
    /// <param name="settings"><c>key=value</c> pairs that override the file, such as <c>training.steps=500</c>.</param>
    /// <param name="output">Overrides <see cref="Output"/>.</param>
    /// <exception cref="OptionsException">Lists every problem of the recipe.</exception>
    public static TrainTextualInversionOptions Read(string path, IReadOnlyList<string>? settings = null, string? output = null) => RunOptions.Read<TrainTextualInversionOptions>(path, settings, output);

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate() =>
        [.. RunOptions.Problems(this, TrainingMethod.TextualInversion, TokenTraining.Problems(Tokens, Template, TokenNorm)), .. TokenTraining.Problems(Training, TokenNorm, withAdapter: false)];

    int IRunOptions.TotalSteps => Training.Steps;

    TextEncoderOptions? IRunOptions.TextEncoder => null;

    PriorOptions? IRunOptions.Prior => null;   // nothing of the model changes, so nothing needs to be preserved

    IRunOptions IRunOptions.With(string output, IReadOnlyList<DataSetOptions> data, PriorOptions? prior) => this with { Output = output, Data = data };
}
