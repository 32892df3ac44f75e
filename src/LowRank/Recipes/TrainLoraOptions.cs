using System.Globalization;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion.Samplers;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>Everything a LoRA training run can be told: the recipe file, key for key. Only model, data and output have no default.</summary>
public sealed record TrainLoraOptions : IRunOptions
{
    /// <summary>What is trained; this record is for <c>lora</c> and <c>dreambooth</c>.</summary>
    public TrainingMethod Method { get; init; } = TrainingMethod.Lora;

    /// <summary>The base model: <c>icons-64</c> (embedded) or a folder in the diffusers layout.</summary>
    public required string Model { get; init; }

    /// <summary>How the model's files are read. Unset: as usual.</summary>
    public ModelFileOptions? ModelFile { get; init; }

    /// <summary>Run folder; made when absent. A folder that already holds a run is refused.</summary>
    public required string Output { get; init; }

    /// <summary>Seed of every random stream. The same seed, options, data and machine give the same bytes.</summary>
    public long Seed { get; init; }

    /// <summary>Folders of pictures.</summary>
    public required IReadOnlyList<DataSetOptions> Data { get; init; }

    /// <summary>Prior pictures that the base draws before training. Unset: none.</summary>
    public PriorOptions? Prior { get; init; }

    /// <summary>Holes, for inpainting models. Unset: the model is none.</summary>
    public InpaintingOptions? Inpainting { get; init; }

    /// <summary>What is attached to the model.</summary>
    public AdapterOptions Adapter { get; init; } = new();

    /// <summary>What is attached to the text encoders. Unset: nothing; they are not trained.</summary>
    public TextEncoderOptions? TextEncoder { get; init; }

    /// <summary>How it is trained.</summary>
    public TrainingOptions Training { get; init; } = new();

    /// <summary>How far off a prediction is, and what counts how much.</summary>
    public LossOptions Loss { get; init; } = new();

    /// <summary>Noise and timesteps that are trained on.</summary>
    public NoiseOptions Noise { get; init; } = new();

    /// <summary>Pictures made while training.</summary>
    public PreviewOptions Preview { get; init; } = new();

    /// <summary>How pictures that are not trained on are measured.</summary>
    public ValidationOptions Validation { get; init; } = new();

    /// <summary>How the adapter is written.</summary>
    public SaveOptions Save { get; init; } = new();

    /// <summary>Reads a recipe file.</summary>
    /// <param name="path">The TOML file. Data folders in it are relative to it; the output folder is relative to where the program runs.</param>
    /// <param name="settings"><c>key=value</c> pairs that override the file, such as <c>training.steps=500</c>.</param>
    /// <param name="output">Overrides <see cref="Output"/>.</param>
    /// <exception cref="OptionsException">Lists every problem of the recipe.</exception>
    public static TrainLoraOptions Read(string path, IReadOnlyList<string>? settings = null, string? output = null) => RunOptions.Read<TrainLoraOptions>(path, settings, output);

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate() =>
    [
        .. RunOptions.Problems(this, Method == TrainingMethod.Dreambooth ? TrainingMethod.Dreambooth : TrainingMethod.Lora,
        [
            .. Adapter.Validate().Select(problem => "adapter." + problem),
            .. Preservation(),
            .. (TextEncoder?.Validate(Training.Steps) ?? []).Select(problem => "text_encoder." + problem),
        ]),
        .. RunOptions.AcrossTables(Training, Adapter),
    ];

    private IEnumerable<string> Preservation()
    {
        if (Method != TrainingMethod.Dreambooth || Prior is not null || Loss.TeacherWeight > 0 || Data.Any(set => set.Prior)) yield break;
        yield return "method: dreambooth; needs something that preserves the class: [prior] with prompt and folder draws pictures of it, a [[data]] table with prior = true holds them, and loss.teacher_weight does without; or take lora";
    }

    int IRunOptions.TotalSteps => Training.Steps;

    IRunOptions IRunOptions.With(string output, IReadOnlyList<DataSetOptions> data, PriorOptions? prior) => this with { Output = output, Data = data, Prior = prior };
}

/// <summary>Training methods.</summary>
public enum TrainingMethod
{
    /// <summary>Low-rank adaptation (Hu et al. 2021) of the denoiser, and of the text encoders where <see cref="TrainLoraOptions.TextEncoder"/> is set.</summary>
    Lora,
    /// <summary>New words for what the pictures show (Gal et al. 2022): only their vectors are learned.</summary>
    TextualInversion,
    /// <summary>New words first, then a LoRA around them (Roich et al. 2021).</summary>
    Pivotal,
    /// <summary>Whole parts of the model: every weight of them.</summary>
    Full,
    /// <summary>A LoRA with something that preserves the subject's class (Ruiz et al. 2023), without which it is refused: prior pictures, or a teacher.</summary>
    Dreambooth,
}

/// <summary>Pictures made while training: the recipe's <c>[preview]</c>. Same seeds every time, so that they can be compared.</summary>
public sealed record PreviewOptions
{
    /// <summary>Makes previews every so many updates; 0 only before and after.</summary>
    public int Every { get; init; }

    /// <summary>One picture each. Unset: the first captions of the data.</summary>
    public IReadOnlyList<string> Prompts { get; init; } = [];

    /// <summary>How many captions of the data are drawn where no prompts are given. 0 without prompts switches previews off, and the sheet of before and after.</summary>
    public int Captions { get; init; } = 4;

    /// <summary>What the pictures should not show.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>Sampler, as in <c>lora generate</c>.</summary>
    public string Sampler { get; init; } = "ddim";

    /// <summary>Sampler steps; time grows with it.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Guidance scale; 1 is off.</summary>
    public double Guidance { get; init; } = 5;

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        if (Every < 0) problems.Add($"every: {Every}; must be 0 (off) or more");
        if (Captions < 0) problems.Add($"captions: {Captions}; must be 0 (none) or more");
        if (Every > 0 && Prompts.Count == 0 && Captions == 0) problems.Add($"every: {Every}; there is nothing to draw without prompts and with captions = 0");
        if (Steps < 1) problems.Add($"steps: {Steps}; must be 1 or more");
        if (Guidance is not (>= 1 and < double.PositiveInfinity)) problems.Add(string.Create(CultureInfo.InvariantCulture, $"guidance: {Guidance}; must be 1 (off) or more"));
        if (SamplerCatalog.ProblemOf(Sampler) is { } problem) problems.Add($"sampler: {problem}");
        return problems;
    }
}

/// <summary>How the adapter is written: the recipe's <c>[save]</c>.</summary>
public sealed record SaveOptions
{
    /// <summary>Key convention: kohya loads in A1111, Forge, ComfyUI, diffusers; peft in diffusers and PEFT.</summary>
    public AdapterFormat Format { get; init; } = AdapterFormat.Kohya;

    /// <summary>Element type of the file.</summary>
    public SavePrecision Precision { get; init; } = SavePrecision.Fp16;

    /// <summary>Where <c>training.ema_decay</c> keeps a moving average: writes it, and draws previews with it. If not, the weights as trained.</summary>
    public bool Ema { get; init; } = true;
}

/// <summary>Element types of written adapters.</summary>
public enum SavePrecision
{
    /// <summary>16-bit float: half the size, and what other tools write.</summary>
    Fp16,
    /// <summary>16-bit float with the exponent of fp32.</summary>
    Bf16,
    /// <summary>32-bit float: exactly what was trained.</summary>
    Fp32,
}
