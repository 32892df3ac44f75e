using System.Globalization;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>What every training recipe says, whatever its method: what a run's folder, log, previews and estimate need to know.</summary>
internal interface IRunOptions
{
    TrainingMethod Method { get; }
    string Model { get; }

    /// <summary>How the model's files are read; null: as usual.</summary>
    ModelFileOptions? ModelFile { get; }

    string Output { get; }
    long Seed { get; }
    IReadOnlyList<DataSetOptions> Data { get; }

    /// <summary>Holes of an inpainting model's training; null for other models.</summary>
    InpaintingOptions? Inpainting => null;

    TrainingOptions Training { get; }
    LossOptions Loss { get; }

    /// <summary>An adapter on the text encoders; null for none.</summary>
    TextEncoderOptions? TextEncoder { get; }

    /// <summary>Prior pictures that the base draws before training; null for none.</summary>
    PriorOptions? Prior { get; }

    /// <summary>The words that are learned, without spaces around them.</summary>
    IReadOnlyList<string> LearnedWords => [];

    NoiseOptions Noise { get; }
    PreviewOptions Preview { get; }
    ValidationOptions Validation { get; }

    /// <summary>Whether what text encoders make of a text changes from step to step.</summary>
    bool TextEncodersLearn => TextEncoder is not null;

    /// <summary>Whether the result is a whole model, in a folder, instead of an adapter.</summary>
    bool MakesModel => false;

    /// <summary>Whether every save writes the result as it is then; if not, only what a resume needs.</summary>
    bool SavesResult => true;

    /// <summary>Updates of the whole run, all phases together.</summary>
    int TotalSteps { get; }

    /// <summary>The same recipe with other places on disk.</summary>
    IRunOptions With(string output, IReadOnlyList<DataSetOptions> data, PriorOptions? prior);

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    IReadOnlyList<string> Validate();
}

/// <summary>Reading and checking of what the recipes share.</summary>
internal static class RunOptions
{
    /// <summary>Reads a recipe file of one method.</summary>
    /// <param name="path">The TOML file. Data folders in it are relative to it; the output folder is relative to where the program runs.</param>
    /// <param name="settings"><c>key=value</c> pairs that override the file.</param>
    /// <param name="output">Overrides the recipe's output folder.</param>
    /// <exception cref="OptionsException">Lists every problem of the recipe.</exception>
    public static T Read<T>(string path, IReadOnlyList<string>? settings, string? output) where T : class, IRunOptions
    {
        var problems = new List<string>();
        var options = RecipeFile.Read<T>(path, Overrides(settings, output), problems);
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (options.Data is not null)
        {
            options = (T)options.With(options.Output, [.. options.Data.Select(set => Absolute(set, folder))], options.Prior is { Folder: not null } prior ? prior with { Folder = Path.GetFullPath(prior.Folder, folder) } : options.Prior);
        }
        // values can be judged once nothing required is missing; a key that could not be read has its default then
        var missing = problems.Exists(problem => problem.EndsWith(RecipeFile.Missing, StringComparison.Ordinal));
        if (!missing) problems.AddRange(options.Validate());
        ThrowIfAny(problems, path);
        return options;
    }

    /// <summary>The method that a recipe names.</summary>
    /// <exception cref="OptionsException">There is no such recipe, or no such method.</exception>
    public static TrainingMethod MethodOf(string path, IReadOnlyList<string>? settings)
    {
        var problems = new List<string>();
        var method = RecipeFile.ReadKey<TrainingMethod>(path, Overrides(settings, null), "method", problems) ?? TrainingMethod.Lora;
        ThrowIfAny(problems, path);
        return method;
    }

    /// <summary>Problems of what the recipes share.</summary>
    /// <param name="options">The recipe.</param>
    /// <param name="method">The method whose record it is.</param>
    /// <param name="own">Problems of the method's own tables, which stand between data and training.</param>
    public static IEnumerable<string> Problems(IRunOptions options, TrainingMethod method, IEnumerable<string> own)
    {
        if (options.Method != method) yield return $"method: {RecipeFile.Word(options.Method.ToString())}; these are the options of {RecipeFile.Word(method.ToString())}";
        if (string.IsNullOrWhiteSpace(options.Model)) yield return "model: empty; must be icons-64, a model folder or a checkpoint file";
        if (string.IsNullOrWhiteSpace(options.Output)) yield return "output: empty; must be a folder";
        if (options.Data.Count == 0) yield return "data: empty; add at least one [[data]] table with a folder of pictures";
        for (var i = 0; i < options.Data.Count; i++)
        {
            foreach (var problem in options.Data[i].Validate()) yield return $"data[{i}].{problem}";
        }
        foreach (var problem in options.Prior?.Validate() ?? []) yield return "prior." + problem;
        foreach (var problem in options.Inpainting?.Validate() ?? []) yield return "inpainting." + problem;
        if (options.Inpainting is { Widen: true } && !options.MakesModel) yield return "inpainting.widen: true; does nothing here: only method = \"full\" writes the model that comes of it";
        foreach (var problem in own) yield return problem;
        foreach (var problem in options.Training.Validate()) yield return "training." + problem;
        foreach (var problem in options.Loss.Validate()) yield return "loss." + problem;
        foreach (var problem in options.Noise.Validate()) yield return "noise." + problem;
        foreach (var problem in AcrossTables(options)) yield return problem;
        foreach (var problem in options.Preview.Validate()) yield return "preview." + problem;
        foreach (var problem in options.Validation.Validate(options.TotalSteps, options.Data.Any(set => set.HeldOut))) yield return "validation." + problem;
    }

    /// <summary>The pictures of a run, with the prior pictures that were drawn for it.</summary>
    /// <param name="options">The recipe.</param>
    /// <param name="family">The model.</param>
    /// <param name="sets">Its data sets, as the method uses them.</param>
    /// <param name="cancellation">Stops between pictures.</param>
    /// <exception cref="DatasetException">Something is missing.</exception>
    public static TrainingData ReadData(IRunOptions options, IDiffusionFamily family, IReadOnlyList<DataSetOptions> sets, CancellationToken cancellation = default)
    {
        var data = TrainingData.Read(PriorPictures.SetOf(options, family) is { } drawn ? [.. sets, drawn] : sets, family.DefaultSize, options.Validation.Share, cancellation);
        if (options.Loss.PriorRule == PriorRule.TwoMeans && PriorPictures.ToDraw(options) == 0) data.RequirePriorsInEveryBucket();
        return data;
    }

    /// <summary>Draws the micro-batches of the whole run.</summary>
    public static BatchSampler MakeSampler(IRunOptions options, TrainingData data, RandomStreams streams) => new(data.Images, new SamplerOptions
    {
        BatchSize = options.Training.BatchSize,
        Accumulation = options.Training.Accumulation,
        MaxSteps = options.TotalSteps,
        PairPriors = options.Loss.PriorRule == PriorRule.TwoMeans,
    }, streams);

    public static void ThrowIfAny(IReadOnlyList<string> problems, string where)
    {
        if (problems.Count == 0) return;
        var parts = problems.Select(problem => problem.Split(": ", 2)).ToArray();
        var width = parts.Max(part => part[0].Length) + 2;
        var lines = parts.Select(part => part.Length == 2 ? part[0].PadRight(width) + part[1] : part[0]);
        throw new OptionsException($"{problems.Count} problem{(problems.Count == 1 ? "" : "s")} in {where}\n\n{string.Join('\n', lines)}");
    }

    private static DataSetOptions Absolute(DataSetOptions set, string folder) => set with
    {
        Folder = set.Folder is null ? null! : Path.GetFullPath(set.Folder, folder),   // a missing key is told of later
        MaskFolder = set.MaskFolder is null ? null : Path.GetFullPath(set.MaskFolder, folder),
    };

    /// <summary>What the training asks of the adapter.</summary>
    public static IEnumerable<string> AcrossTables(TrainingOptions training, AdapterOptions adapter)
    {
        if (training.LoraplusLrRatio != 1 && adapter.Kind is not (AdapterKind.Lora or AdapterKind.Dora)) yield return "training.loraplus_lr_ratio: does nothing without adapter.kind = \"lora\" or \"dora\": other kinds have no up";
    }

    /// <summary>What one table asks of another.</summary>
    private static IEnumerable<string> AcrossTables(IRunOptions options)
    {
        var (usual, priors) = (new LossOptions(), options.Data.Count(set => set.Prior));
        if (options.Data.Count > 0 && options.Data.All(set => set.Prior || set.HeldOut)) yield return $"data: every set has {(priors == 0 ? "held_out" : priors == options.Data.Count ? "prior" : "prior or held_out")} = true; add one with the pictures to learn";
        if (priors == 0 && options.Prior is null && (options.Loss.PriorLossWeight, options.Loss.PriorRule) != (usual.PriorLossWeight, usual.PriorRule)) yield return "loss.prior_loss_weight, loss.prior_rule: do nothing without prior pictures: [prior], or a [[data]] table with prior = true";
        if (options.Loss.TeacherWeight > 0 && options.Method is TrainingMethod.Full or TrainingMethod.TextualInversion) yield return string.Create(CultureInfo.InvariantCulture, $"loss.teacher_weight: {options.Loss.TeacherWeight}; needs an adapter, which is taken off to ask the base: not for method = \"{RecipeFile.Word(options.Method.ToString())}\"");
        else if (options.Loss.TeacherCaption == LossOptions.WithoutTokens && options.LearnedWords.Count == 0) yield return "loss.teacher_caption: without-tokens; there are no learned tokens to leave out: only for method = \"pivotal\"";
        else if (options.Loss.TeacherWeight > 0 && options.TextEncodersLearn) yield return string.Create(CultureInfo.InvariantCulture, $"loss.teacher_weight: {options.Loss.TeacherWeight}; not with [text_encoder]: what the base reads in a caption would be lost; leave out one of them, or take [prior] in place of the teacher");
        var masksAreHoles = options.Inpainting is { Holes: HoleSource.Masks };
        var noMasks = options.Data.All(set => set.Mask == MaskSource.None);
        if (masksAreHoles && noMasks) yield return "inpainting.holes: masks; there are none: set mask = \"alpha\", \"sidecar\" or \"folder\" in a [[data]] table";
        if ((masksAreHoles || noMasks) && (options.Loss.UnmaskedWeight, options.Loss.NormalizeMaskedAreaLoss, options.Loss.MaskTemperature) != (usual.UnmaskedWeight, usual.NormalizeMaskedAreaLoss, usual.MaskTemperature))
        {
            yield return "loss.unmasked_weight, loss.normalize_masked_area_loss, loss.mask_temperature: do nothing " + (masksAreHoles ? "with inpainting.holes = \"masks\": masks are holes then" : "without a [[data]] table with a mask");
        }
        if (options.Loss.PriorRule == PriorRule.TwoMeans && options.Training.BatchSize % 2 == 1)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"training.batch_size: {options.Training.BatchSize}; must be even with loss.prior_rule = \"two-means\": half of a batch is prior pictures");
        }
    }

    private static List<string> Overrides(IReadOnlyList<string>? settings, string? output)
    {
        var overrides = (settings ?? []).ToList();
        if (output is not null) overrides.Add("output='" + output + "'");
        return overrides;
    }
}
