using LowRank.Data;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Training;
using static System.FormattableString;

namespace LowRank.Recipes;

/// <summary>Everything that training whole parts of a model can be told: the recipe file with <c>method = "full"</c>, key for key.</summary>
public sealed record TrainFullOptions : IRunOptions
{
    /// <summary>What is trained; this record is for <c>full</c>.</summary>
    public TrainingMethod Method { get; init; } = TrainingMethod.Full;

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

    /// <summary>What of the model learns.</summary>
    public FullOptions Full { get; init; } = new();

    /// <summary>How an autoencoder is trained, where that is the part. Unset: with the defaults.</summary>
    public AutoencoderOptions? Vae { get; init; }

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

    /// <summary>How the model is written.</summary>
    public ModelSaveOptions Save { get; init; } = new();

    /// <summary>Reads a recipe file.</summary>
    /// <param name="path">The TOML file. Data folders in it are relative to it; the output folder is relative to where the program runs.</param>
    /// <param name="settings"><c>key=value</c> pairs that override the file, such as <c>training.steps=500</c>.</param>
    /// <param name="output">Overrides <see cref="Output"/>.</param>
    /// <exception cref="OptionsException">Lists every problem of the recipe.</exception>
    public static TrainFullOptions Read(string path, IReadOnlyList<string>? settings = null, string? output = null) => RunOptions.Read<TrainFullOptions>(path, settings, output);

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate() =>
    [
        .. RunOptions.Problems(this, TrainingMethod.Full,
        [
            .. Full.Validate().Select(problem => "full." + problem),
            .. (Vae?.Validate() ?? []).Select(problem => "vae." + problem),
            .. Inpainting is { Widen: true } && !Full.Parts.Contains(FullOptions.Denoiser) ? (IEnumerable<string>)["full.parts: without unet nothing would learn to see the holes of inpainting.widen"] : [],
            .. Prior is not null && Full.Init == WeightStart.Random && !Full.IsAutoencoder ? (IEnumerable<string>)["prior: the model draws them before it learns, and with full.init = \"random\" it can draw nothing yet: leave the table out, or take init = \"base\""] : [],
        ]),
        .. OfTraining(),
        .. Full.IsAutoencoder ? OfAutoencoder() : Full.TellsPictures ? OfTextEncoder() : (IEnumerable<string>)[],
        .. Full.IsAutoencoder || Vae is null ? (IEnumerable<string>)[] : ["vae: the table does nothing without full.parts = [\"vae\"]"],
    ];

    /// <summary>Training options that only adapters have a use for.</summary>
    private IEnumerable<string> OfTraining()
    {
        if (Training.Precision == Precision.Bf16)
        {
            const string Why = "method = \"full\" with training.precision = \"bf16\" keeps no weights of 32 bits";
            if (Training.EmaDecay > 0) yield return Invariant($"training.ema_decay: {Training.EmaDecay}; {Why}, and the average would stand still: leave it out or take fp32");
            if (Training.Optimizer is OptimizerKind.Prodigy or OptimizerKind.AdamwScheduleFree) yield return $"training.optimizer: {RecipeFile.Word(Training.Optimizer.ToString())}; {Why}: take adamw8bit, adamw, adafactor or fp32";
        }
        if (Training.LoraplusLrRatio != 1) yield return Invariant($"training.loraplus_lr_ratio: {Training.LoraplusLrRatio}; does nothing without an adapter");
    }

    /// <summary>What only a denoiser has a use for.</summary>
    /// <param name="why">What there is in its place: with …</param>
    /// <param name="loss">More about the loss.</param>
    private IEnumerable<string> WithoutDenoiser(string why, string loss = "")
    {
        if (Loss != new LossOptions()) yield return $"loss: the table does nothing {why}{loss}";
        if (Noise != new NoiseOptions()) yield return $"noise: the table does nothing {why}";
        if (Prior is not null) yield return $"prior: the table does nothing {why}";
        if (Inpainting is not null) yield return $"inpainting: the table does nothing {why}";
        if (Validation.Share > 0) yield return Invariant($"validation.share: {Validation.Share}; does nothing {why}");
    }

    /// <summary>What of the data only the loss of a denoiser has a use for.</summary>
    private IEnumerable<string> WithoutWeights(string why)
    {
        for (var i = 0; i < Data.Count; i++)
        {
            var set = Data[i];
            if (set.Prior || set.Mask != MaskSource.None || set.LossWeight != 1 || set.HeldOut) yield return $"data[{i}].prior, data[{i}].mask, data[{i}].loss_weight, data[{i}].held_out: do nothing {why}";
        }
    }

    /// <summary>What does nothing where a text encoder learns by itself to tell pictures.</summary>
    private IEnumerable<string> OfTextEncoder()
    {
        const string Why = "with full.objective = \"blurred-picture\"";
        foreach (var problem in WithoutDenoiser(Why)) yield return problem;
        if (Preview != new PreviewOptions { Prompts = Preview.Prompts } || Preview.Prompts.Count > 0) yield return $"preview: the table does nothing {Why}: a text encoder draws no pictures";
        foreach (var problem in WithoutWeights(Why)) yield return problem;
        for (var i = 0; i < Data.Count; i++)
        {
            if (Data[i].Crop == CropMode.Random) yield return $"data[{i}].crop: random; not {Why}: pictures are encoded once, before the first step";
        }
    }

    /// <summary>What only a denoiser and its captions have a use for.</summary>
    private IEnumerable<string> OfAutoencoder()
    {
        const string Why = "with full.parts = [\"vae\"]";
        if (Vae is { DecoderOnly: true } && Full.Init == WeightStart.Random) yield return "vae.decoder_only: true; needs an encoder that has learned: not with full.init = \"random\"";
        foreach (var problem in WithoutDenoiser(Why, "; the loss of an autoencoder is in [vae]")) yield return problem;
        if (Training.Precision != Precision.Fp32) yield return $"training.precision: bf16; not {Why}: autoencoders are always computed in 32 bits";
        if (Training.ClipSkip != 1) yield return Invariant($"training.clip_skip: {Training.ClipSkip}; does nothing {Why}");
        if (Training.GradientCheckpointing) yield return $"training.gradient_checkpointing: true; not {Why}";
        if (Training.Cache != CacheKind.Memory) yield return $"training.cache: {RecipeFile.Word(Training.Cache.ToString())}; does nothing {Why}: nothing is encoded ahead";
        if (Preview != new PreviewOptions { Every = Preview.Every, Captions = Preview.Captions, Prompts = Preview.Prompts } || Preview.Prompts.Count > 0) yield return $"preview: only every and captions do something {Why}; pictures of the data are shown before and behind it";
        foreach (var problem in WithoutWeights(Why)) yield return problem;
    }

    int IRunOptions.TotalSteps => Training.Steps;

    TextEncoderOptions? IRunOptions.TextEncoder => null;

    bool IRunOptions.TextEncodersLearn => Full.Encoders.Any();

    bool IRunOptions.MakesModel => true;

    bool IRunOptions.SavesResult => Save.Intermediate;

    IRunOptions IRunOptions.With(string output, IReadOnlyList<DataSetOptions> data, PriorOptions? prior) => this with { Output = output, Data = data, Prior = prior };
}
