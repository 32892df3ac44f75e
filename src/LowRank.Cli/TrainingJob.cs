using System.Globalization;
using LowRank.Adapters;
using LowRank.Families;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Cli;

/// <summary>A recipe of any method: how it is planned, run, and told of.</summary>
internal sealed class TrainingJob
{
    /// <summary>What a stopped run of most methods has saved.</summary>
    public const string AdapterSaved = "adapter and state are";

    private TrainingJob() { }

    public required string Model { get; init; }

    /// <summary>How the model's files are read; null: as usual.</summary>
    public required ModelFileOptions? ModelFile { get; init; }

    public required string Output { get; init; }
    public required Func<TrainingPlan> Plan { get; init; }
    public required Func<IProgress<TrainingEvent>, bool, CancellationToken, TrainingResult> Run { get; init; }

    /// <summary>What is trained, in rows of a word and a text.</summary>
    public required Func<TrainingPlan, IEnumerable<(string Word, string Text)>> Trained { get; init; }

    /// <summary>Learning rates and schedules in words.</summary>
    public required string Rates { get; init; }

    /// <summary>What the result is called.</summary>
    public required string ResultWord { get; init; }

    /// <summary>Who reads the result.</summary>
    public required string Readers { get; init; }

    /// <summary>The option of lora generate that takes the result; null where it takes the base's place.</summary>
    public required string? GenerateOption { get; init; }

    /// <summary>Whether lora generate is what one does next.</summary>
    public bool Draws { get; init; } = true;

    /// <summary>What the plan calls the network whose size it tells.</summary>
    public string Network { get; init; } = "denoiser";

    /// <summary>Whether the model paints in pictures, so that trying the result takes one.</summary>
    public required bool Inpaints { get; init; }

    /// <summary>What a stopped run has saved.</summary>
    public string Saved { get; init; } = AdapterSaved;

    /// <summary>Reads a recipe of the method that it names.</summary>
    /// <exception cref="Foundation.OptionsException">Lists every problem of the recipe.</exception>
    public static TrainingJob Read(string path, IReadOnlyList<string> settings, string? output) => TrainingMethods.Of(path, settings) switch
    {
        TrainingMethod.TextualInversion => OfInversion(TrainTextualInversionOptions.Read(path, settings, output)),
        TrainingMethod.Full => OfFull(TrainFullOptions.Read(path, settings, output)),
        TrainingMethod.Pivotal => OfPivotal(TrainPivotalOptions.Read(path, settings, output)),
        _ => OfLora(TrainLoraOptions.Read(path, settings, output)),
    };

    private static TrainingJob OfLora(TrainLoraOptions options) => new()
    {
        Model = options.Model,
        ModelFile = options.ModelFile,
        Output = options.Output,
        Plan = () => TrainLora.Plan(options),
        Run = (progress, resume, stop) => TrainLora.Run(options, progress, resume, stop),
        Trained = plan => [AdapterRow(options.Adapter, plan)],
        Rates = RatesOf(options.Training),
        ResultWord = "adapter",
        Readers = ReadersOf(options.Save),
        GenerateOption = "adapter",
        Inpaints = options.Inpainting is not null,
    };

    private static TrainingJob OfInversion(TrainTextualInversionOptions options) => new()
    {
        Model = options.Model,
        ModelFile = options.ModelFile,
        Output = options.Output,
        Plan = () => TrainTextualInversion.Plan(options),
        Run = (progress, resume, stop) => TrainTextualInversion.Run(options, progress, resume, stop),
        Trained = _ => options.Tokens.Select(TokenRow),
        Rates = RatesOf(options.Training),
        ResultWord = "tokens",
        Readers = "all tokens in one file",
        GenerateOption = "embedding",
        Inpaints = options.Inpainting is not null,
    };

    private static TrainingJob OfPivotal(TrainPivotalOptions options) => new()
    {
        Model = options.Model,
        ModelFile = options.ModelFile,
        Output = options.Output,
        Plan = () => TrainPivotal.Plan(options),
        Run = (progress, resume, stop) => TrainPivotal.Run(options, progress, resume, stop),
        Trained = plan => options.Tokens.Select(TokenRow).Append(AdapterRow(options.Adapter, plan)),
        Rates = options.Inversion.Steps == 0
            ? string.Create(CultureInfo.InvariantCulture, $"tokens {options.Inversion.TuningLearningRate:G3} and adapter: {RatesOf(options.Training)}")
            : string.Create(CultureInfo.InvariantCulture, $"first {options.Inversion.Steps} for the tokens, learning rate {options.Inversion.LearningRate:G3}; then {options.Training.Steps} for the adapter, {RatesOf(options.Training)}"),
        ResultWord = "adapter",
        Readers = ReadersOf(options.Save) + ", with its tokens",
        GenerateOption = "adapter",
        Inpaints = options.Inpainting is not null,
    };

    private static TrainingJob OfFull(TrainFullOptions options) => new()
    {
        Model = options.Model,
        ModelFile = options.ModelFile,
        Output = options.Output,
        Plan = () => TrainFull.Plan(options),
        Run = (progress, resume, stop) => TrainFull.Run(options, progress, resume, stop),
        Trained = plan => [("trained", string.Create(CultureInfo.InvariantCulture, $"all of {string.Join(", ", options.Full.Parts)}: {plan.Modules} layers, {plan.Parameters / 1e6:F2} M parameters; the model {Words.Size(plan.AdapterBytes)}"))],
        Rates = RatesOf(options.Training),
        ResultWord = "model",
        Readers = "a diffusers folder (diffusers, ComfyUI, kohya)",
        GenerateOption = null,
        Draws = !options.Full.Parts.Contains("vae"),
        Network = options.Full.Parts.Contains("vae") ? "autoencoder" : "denoiser",
        Inpaints = options.Inpainting is not null,
        Saved = options.Save.Intermediate ? "model and state are" : "the state is",
    };

    private static (string Word, string Text) AdapterRow(AdapterOptions adapter, TrainingPlan plan) => ("adapter", string.Create(CultureInfo.InvariantCulture,
        $"{Kebab(adapter.Kind)}, rank {adapter.Rank}, alpha {adapter.Alpha ?? adapter.Rank}: {plan.Modules} modules ({string.Join(", ", adapter.Targets)}), {plan.Parameters / 1e6:F2} M parameters, {Words.Size(plan.AdapterBytes)}"));

    private static (string Word, string Text) TokenRow(LearnedTokenOptions token) => ("token",
        $"{token.Token}: {token.Vectors} vector{(token.Vectors == 1 ? "" : "s")}, from {(token.Init is null ? "random ones" : $"{(token.InitMean ? "the mean of " : "")}\"{token.Init}\"")}");

    private static string RatesOf(TrainingOptions training) => string.Create(CultureInfo.InvariantCulture,
        $"learning rate {training.LearningRate:G3} {Kebab(training.Schedule)}, warm-up {training.WarmupSteps}");

    /// <summary>As recipes write it.</summary>
    private static string Kebab<T>(T word) where T : struct, Enum => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(word.ToString());

    private static string ReadersOf(SaveOptions save) => save.Format == AdapterFormat.Kohya ? "kohya keys (A1111, ComfyUI, diffusers, kohya)" : "PEFT keys (diffusers)";
}
