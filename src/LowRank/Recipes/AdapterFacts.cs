using System.Globalization;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>What a written adapter says of its training (P20: a file explains itself).</summary>
internal static class AdapterFacts
{
    /// <param name="options">The recipe.</param>
    /// <param name="adapter">Its adapter.</param>
    /// <param name="save">How it is written.</param>
    /// <param name="family">The model.</param>
    /// <param name="step">Updates made.</param>
    /// <param name="tokens">Learned tokens to bundle with it; they stay the caller's.</param>
    public static AdapterSaveOptions Of(IRunOptions options, AdapterOptions adapter, SaveOptions save, IDiffusionFamily family, long step, IReadOnlyList<Embedding>? tokens = null)
    {
        var side = options.Data.Max(set => set.Resolution) ?? family.DefaultSize;
        return new AdapterSaveOptions
        {
            Format = save.Format,
            Type = TypeOf(save.Precision),
            Base = $"{options.Model} ({family.Name})",
            BaseVersion = family.BaseVersion,
            Title = "adapter",
            Targets = adapter.Targets,
            Resolution = (side, side),
            PredictionType = family.PredictionType == PredictionType.VPrediction ? "v" : "epsilon",
            Seed = options.Seed,
            Steps = (int)step,
            Options = RecipeOf(options),
            Embeddings = tokens ?? [],
            Facts = TrainerFacts(options),
        };
    }

    /// <summary>What files of learned tokens and of whole models say of their training.</summary>
    public static Dictionary<string, string> OfRun(IRunOptions options, IDiffusionFamily family, long step) => new()
    {
        ["lowrank.version"] = AdapterMetadata.Version,
        ["lowrank.base"] = $"{options.Model} ({family.Name})",
        ["lowrank.base_version"] = family.BaseVersion,
        ["lowrank.seed"] = options.Seed.ToString(CultureInfo.InvariantCulture),
        ["lowrank.steps"] = step.ToString(CultureInfo.InvariantCulture),
        ["lowrank.options"] = RecipeOf(options),
    };

    public static StoredType TypeOf(SavePrecision precision) => precision switch { SavePrecision.Fp32 => StoredType.F32, SavePrecision.Bf16 => StoredType.BF16, _ => StoredType.F16 };

    /// <summary>The recipe without folders and file names of the user's machine, which stay out of files that are shared.</summary>
    private static string RecipeOf(IRunOptions options) =>
        RecipeFile.Write(options.With("-", [.. options.Data.Select(set => set with { Folder = Path.GetFileName(set.Folder), MaskFolder = Path.GetFileName(set.MaskFolder) })], options.Prior is { } prior ? prior with { Folder = Path.GetFileName(prior.Folder) } : null));

    /// <summary>As sd-scripts writes them (train_network.py, metadata): numbers and truth values as Python prints them, None for what is not trained.</summary>
    private static Dictionary<string, string> TrainerFacts(IRunOptions options)
    {
        var (training, text) = (options.Training, options.TextEncoder);
        var rates = text is null ? [] : new[] { text.LearningRate, text.SecondLearningRate ?? text.LearningRate }.Distinct().Select(Number).ToArray();
        return new Dictionary<string, string>
        {
            ["ss_learning_rate"] = Number(training.LearningRate),
            ["ss_unet_lr"] = Number(training.LearningRate),
            ["ss_text_encoder_lr"] = rates.Length switch { 0 => "None", 1 => rates[0], _ => $"[{string.Join(", ", rates)}]" },
            ["ss_clip_skip"] = training.ClipSkip == 1 ? "None" : training.ClipSkip.ToString(CultureInfo.InvariantCulture),
            ["ss_gradient_checkpointing"] = training.GradientCheckpointing ? "True" : "False",
        };

        static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture).Replace("E", "e", StringComparison.Ordinal);
    }
}

/// <summary>What a resumed run must not change.</summary>
internal static class ResumedOptions
{
    private static readonly string[] Free = ["output", "preview.", "validation.every", "save.", "training.save_every", "training.keep", "training.cache", "training.cache_folder"];

    /// <summary>Every option that shapes the result, as <c>training.steps</c> to its text, and what names the pictures.</summary>
    public static IReadOnlyDictionary<string, string> Of(IRunOptions options, TrainingData data)
    {
        var (values, table, counts) = (new Dictionary<string, string>(), "", new Dictionary<string, int>());
        foreach (var line in RecipeFile.Write(options).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.StartsWith("[[", StringComparison.Ordinal))
            {
                var name = line.Trim('[', ']');
                var index = counts[name] = counts.GetValueOrDefault(name, -1) + 1;
                table = string.Create(CultureInfo.InvariantCulture, $"{name}[{index}].");
            }
            else if (line.StartsWith('['))
            {
                table = line.Trim('[', ']') + ".";
            }
            else
            {
                var parts = line.Split(" = ", 2);
                values[table + parts[0]] = parts[1];
            }
        }
        values["the pictures and captions themselves"] = data.Fingerprint()[..16];
        return values.Where(item => !Array.Exists(Free, free => item.Key.StartsWith(free, StringComparison.Ordinal)) && !IsPlace(item.Key)).ToDictionary();

        // folders may move: their pictures and captions are held against the fingerprint
        static bool IsPlace(string key) => key.StartsWith("data[", StringComparison.Ordinal) && key.EndsWith("].folder", StringComparison.Ordinal);
    }
}
