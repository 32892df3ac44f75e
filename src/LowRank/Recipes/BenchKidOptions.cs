using System.Globalization;
using LowRank.Diffusion.Samplers;
using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>
/// The experiment that compares full fine-tuning, LoRA and textual inversion by KID, time and size: its recipe file, key for key.
/// The design, and why it is so, is in docs/kid-experiment.md.
/// </summary>
public sealed record BenchKidOptions
{
    /// <summary>The base model: <c>icons-64</c> (embedded) or a folder in the diffusers layout.</summary>
    public required string Model { get; init; }

    /// <summary>Folder of everything that the experiment makes. One that holds an experiment is refused, or gone on with.</summary>
    public required string Output { get; init; }

    /// <summary>Folder of the set that is learned, and judged by.</summary>
    public required string Pictures { get; init; }

    /// <summary>Where captions come from, as <c>caption</c> in a <c>[[data]]</c> table of a training recipe.</summary>
    public string Caption { get; init; } = "sidecar";

    /// <summary>Share of uses in which the caption of a picture is left empty, as <c>caption_dropout</c> there.</summary>
    public double CaptionDropout { get; init; }

    /// <summary>Folder of other pictures, which the base knows: what a training forgets is measured on them. Unset: it is not measured.</summary>
    public string? Others { get; init; }

    /// <summary>Parts that the set is cut into: each is the test part once, and the others are trained on.</summary>
    public int Folds { get; init; } = 3;

    /// <summary>Of the pictures to train on, every so-manieth chooses the learning rate.</summary>
    public int ValidationEvery { get; init; } = 3;

    /// <summary>Seeds: each arm is trained with every one in every fold. The first one chooses learning rates.</summary>
    public IReadOnlyList<long> Seeds { get; init; } = [0, 1, 2];

    /// <summary>What is compared: <c>full</c>, <c>lora-RANK</c>, <c>textual-inversion</c>. The untouched base is always measured.</summary>
    public IReadOnlyList<string> Arms { get; init; } = ["full", "lora-1", "lora-4", "lora-16", "textual-inversion"];

    /// <summary>Steps after which pictures are drawn in the trainings of the first seed, beside the last step, after which all are drawn from.</summary>
    public IReadOnlyList<int> MeasureAt { get; init; } = [];

    /// <summary>Networks that KID is measured by: <c>icons</c> (embedded), the weights file of InceptionV3, or the folder of a CLIP model.</summary>
    public IReadOnlyList<string> Features { get; init; } = ["icons"];

    /// <summary>Trainings that are made at a time by the command, each in a process of its own with its share of the cores. Memory grows with it; results depend on it in their last digits at most.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>Which layers the LoRA arms change, as <c>adapter.targets</c> of a training recipe.</summary>
    public IReadOnlyList<string> Targets { get; init; } = ["attention"];

    /// <summary>What <c>--quick</c> changes: settings as <c>--set</c> takes them.</summary>
    public IReadOnlyList<string> Quick { get; init; } = [];

    /// <summary>Rates that are tried.</summary>
    public BenchKidRates LearningRates { get; init; } = new();

    /// <summary>The word of the textual inversion.</summary>
    public BenchKidWord Word { get; init; } = new();

    /// <summary>How every arm is trained; the learning rate and the saves are the experiment's.</summary>
    public TrainingOptions Training { get; init; } = new();

    /// <summary>How pictures are drawn.</summary>
    public BenchKidDrawing Draw { get; init; } = new();

    /// <summary>How the loss on held-out pictures is measured; which and when are the experiment's.</summary>
    public ValidationOptions Validation { get; init; } = new();

    /// <summary>How the time of a step is measured.</summary>
    public BenchKidTiming Timing { get; init; } = new();

    /// <summary>Whether this is the quick form.</summary>
    internal bool IsQuick { get; init; }

    /// <summary>Folder of the recipe file that they came from; null where they came from none.</summary>
    internal string? RecipeFolder { get; init; }

    /// <summary>Reads a recipe file.</summary>
    /// <param name="path">The TOML file. Folders and weights in it are relative to it; the output folder is relative to where the program runs.</param>
    /// <param name="settings"><c>key=value</c> pairs that override the file, such as <c>training.steps=500</c>.</param>
    /// <param name="output">Overrides <see cref="Output"/>.</param>
    /// <param name="quick">Applies <see cref="Quick"/> first.</param>
    /// <exception cref="OptionsException">Lists every problem of the recipe.</exception>
    public static BenchKidOptions Read(string path, IReadOnlyList<string>? settings = null, string? output = null, bool quick = false)
    {
        List<string> overrides = [.. settings ?? [], .. output is null ? (string[])[] : [$"output='{output}'"]];
        if (quick && RecipeFile.Read<BenchKidOptions>(path, [], []).Quick is var changes)
        {
            overrides = changes.Count > 0 ? [.. changes, .. overrides] : throw new OptionsException($"quick: {path} says nothing of a quick form\n  try         quick = [\"training.steps=100\", \"seeds=[0]\"] in it, or the command without --quick");
        }
        var problems = new List<string>();
        var options = RecipeFile.Read<BenchKidOptions>(path, overrides, problems) with { IsQuick = quick };
        if (!problems.Exists(problem => problem.EndsWith(RecipeFile.Missing, StringComparison.Ordinal)))
        {
            options = options.From(Path.GetDirectoryName(Path.GetFullPath(path))!);
            problems.AddRange(options.Validate());
        }
        RunOptions.ThrowIfAny(problems, path);
        return options;
    }

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(!string.IsNullOrWhiteSpace(Model), $"model: empty; must be icons-64 or a model folder");
        Check(!string.IsNullOrWhiteSpace(Output), $"output: empty; must be a folder");
        Check(!string.IsNullOrWhiteSpace(Pictures), $"pictures: empty; must be a folder of pictures");
        Check(Others is null || Others.Trim().Length > 0, $"others: empty; must be a folder of pictures");
        Check(Folds is >= 2 and <= 10, $"folds: {Folds}; must be 2 to 10");
        Check(ValidationEvery >= 2, $"validation_every: {ValidationEvery}; must be 2 or more");
        Check(Seeds.Count > 0 && Seeds.Distinct().Count() == Seeds.Count, $"seeds: {string.Join(", ", Seeds)}; must be one or more, each once");
        Check(Arms.Count > 0 && Arms.Distinct().Count() == Arms.Count, $"arms: {string.Join(", ", Arms)}; must be one or more, each once");
        Check(Features.Count > 0 && Features.All(name => name.Trim().Length > 0) && Features.Distinct().Count() == Features.Count, $"features: {string.Join(", ", Features)}; must be one or more networks, each once");
        Check(Workers is >= 1 and <= 64, $"workers: {Workers}; must be 1 to 64");
        foreach (var step in MeasureAt) Check(step >= 1 && step < Training.Steps, $"measure_at: {step}; must be 1 up to, not including, the {Training.Steps} steps, whose end is always measured");
        for (var i = 0; i < Arms.Count; i++) if (BenchKidArm.ProblemOf(Arms[i]) is { } problem) problems.Add(string.Create(CultureInfo.InvariantCulture, $"arms[{i}]: {problem}"));
        problems.AddRange(LearningRates.Validate().Select(problem => "learning_rates." + problem));
        problems.AddRange(Draw.Validate().Select(problem => "draw." + problem));
        problems.AddRange(Timing.Validate().Select(problem => "timing." + problem));
        CheckOwned(Check);
        if (problems.Count == 0) problems.AddRange(BenchKidArm.All(this).SelectMany(arm => arm.Validate(this)).Distinct());
        return problems;
    }

    /// <summary>Keys of the tables that it shares with training recipes, and sets itself.</summary>
    private void CheckOwned(Action<bool, FormattableString> check)
    {
        var (training, validation) = (new TrainingOptions(), new ValidationOptions());
        check(Training.LearningRate == training.LearningRate, $"training.learning_rate: {Training.LearningRate}; does nothing here: [learning_rates] has those to try");
        check(Training.SaveEvery == training.SaveEvery && Training.Keep == training.Keep, $"training.save_every, training.keep: do nothing here: what is measured is saved");
        check(Validation.Share == validation.Share && Validation.Every == validation.Every, $"validation.share, validation.every: do nothing here: folds are held out, and measured where pictures are drawn");
    }

    /// <summary>
    /// The same without places of this machine, to be quoted: what is named by a whole path is named from the recipe's folder on, or without a recipe file
    /// from the output folder on; the output folder is its own name.
    /// </summary>
    internal BenchKidOptions Portable()
    {
        var output = Path.GetFullPath(Output);
        string Short(string path) => Path.IsPathRooted(path) ? Path.GetRelativePath(RecipeFolder ?? output, path).Replace('\\', '/') : path;
        return this with
        {
            Model = Short(Model),
            Output = Path.IsPathRooted(Output) ? Path.GetFileName(Path.TrimEndingDirectorySeparator(output)) : Output,
            Pictures = Short(Pictures),
            Others = Others is null ? null : Short(Others),
            Features = [.. Features.Select(Short)],
        };
    }

    private BenchKidOptions From(string folder) => this with
    {
        RecipeFolder = folder,
        Pictures = Path.GetFullPath(Pictures, folder),
        Others = Others is null ? null : Path.GetFullPath(Others, folder),
        Features = [.. Features.Select(name => name != IconFeatures.Embedded && Path.Exists(Path.GetFullPath(name, folder)) ? Path.GetFullPath(name, folder) : name)],
    };
}

/// <summary>Learning rates that are tried, of which each arm takes the one with the lowest loss on the validation pictures: the recipe's <c>[learning_rates]</c>.</summary>
public sealed record BenchKidRates
{
    /// <summary>For <c>full</c>.</summary>
    public IReadOnlyList<double> Full { get; init; } = [1e-4, 3e-4, 1e-3];

    /// <summary>For <c>lora-RANK</c>.</summary>
    public IReadOnlyList<double> Lora { get; init; } = [1e-3, 3e-3, 1e-2];

    /// <summary>For <c>textual-inversion</c>.</summary>
    public IReadOnlyList<double> TextualInversion { get; init; } = [1e-3, 5e-3, 2e-2];

    internal IEnumerable<string> Validate()
    {
        foreach (var (key, rates) in new[] { ("full", Full), ("lora", Lora), ("textual_inversion", TextualInversion) })
        {
            if (rates.Count == 0 || rates.Distinct().Count() != rates.Count || rates.Any(rate => rate is not (> 0 and < double.PositiveInfinity))) yield return string.Create(CultureInfo.InvariantCulture, $"{key}: {string.Join(", ", rates)}; must be one or more numbers above 0, each once");
        }
    }
}

/// <summary>The word that textual inversion learns: the recipe's <c>[word]</c>.</summary>
public sealed record BenchKidWord
{
    /// <summary>How many vectors it has.</summary>
    public int Vectors { get; init; } = 1;

    /// <summary>Words that it starts as. Unset: random vectors.</summary>
    public string? Init { get; init; }
}

/// <summary>How pictures are drawn for KID: the recipe's <c>[draw]</c>. The noise of a picture depends on its name and number alone, so that it is the same in every arm.</summary>
public sealed record BenchKidDrawing
{
    /// <summary>Pictures for each caption of the test part.</summary>
    public int PerCaption { get; init; } = 1;

    /// <summary>Sampler, as in <c>lora generate</c>.</summary>
    public string Sampler { get; init; } = "ddim";

    /// <summary>Sampler steps.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Guidance scale; 1 is off.</summary>
    public double Guidance { get; init; } = 3;

    /// <summary>Pictures that are drawn at a time.</summary>
    public int BatchSize { get; init; } = 8;

    internal IEnumerable<string> Validate()
    {
        if (PerCaption < 1) yield return string.Create(CultureInfo.InvariantCulture, $"per_caption: {PerCaption}; must be 1 or more");
        if (Steps < 1) yield return string.Create(CultureInfo.InvariantCulture, $"steps: {Steps}; must be 1 or more");
        if (Guidance is not (>= 1 and < double.PositiveInfinity)) yield return string.Create(CultureInfo.InvariantCulture, $"guidance: {Guidance}; must be 1 (off) or more");
        if (BatchSize < 1) yield return string.Create(CultureInfo.InvariantCulture, $"batch_size: {BatchSize}; must be 1 or more");
        if (SamplerCatalog.ProblemOf(Sampler) is { } problem) yield return $"sampler: {problem}";
    }
}

/// <summary>How the time of a step is measured: all arms in turn, alone on the machine, with all its cores: the recipe's <c>[timing]</c>.</summary>
public sealed record BenchKidTiming
{
    /// <summary>How often each arm has its turn; 0 measures no time and no memory.</summary>
    public int Rounds { get; init; } = 3;

    /// <summary>Steps of a turn; the first five do not count.</summary>
    public int Steps { get; init; } = 20;

    internal IEnumerable<string> Validate()
    {
        if (Rounds < 0) yield return string.Create(CultureInfo.InvariantCulture, $"rounds: {Rounds}; must be 0 (none) or more");
        if (Steps <= BenchKidPart.UncountedSteps) yield return string.Create(CultureInfo.InvariantCulture, $"steps: {Steps}; must be {BenchKidPart.UncountedSteps + 1} or more, since the first {BenchKidPart.UncountedSteps} do not count");
    }
}
