using System.Globalization;
using LowRank.Evaluation;
using LowRank.Families;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>Which pictures are measured against which, and by what.</summary>
public sealed record EvaluateOptions
{
    /// <summary>Folder of real pictures, those that the generated ones should be like; better not those that were trained on. Its sub-folders (one level) are looked into as well.</summary>
    public required string Real { get; init; }

    /// <summary>Folder of generated pictures, with captions beside them for the CLIP score; null where <see cref="Model"/> draws them.</summary>
    public string? Generated { get; init; }

    /// <summary>The model that draws the pictures: <c>icons-64</c>, a folder in the diffusers layout, or a checkpoint of one file; null where <see cref="Generated"/> has them.</summary>
    public string? Model { get; init; }

    /// <summary>How the files of <see cref="Model"/> are read, where they do not say it themselves; null: as usual.</summary>
    public ModelFileOptions? ModelFile { get; init; }

    /// <summary>Adapters of <see cref="Model"/>, each with a strength.</summary>
    public IReadOnlyList<AdapterUse> Adapters { get; init; } = [];

    /// <summary>Learned tokens (textual inversion) that prompts may name.</summary>
    public IReadOnlyList<EmbeddingUse> Embeddings { get; init; } = [];

    /// <summary>File with a prompt in each line, for <see cref="Model"/>; blank lines, and lines that begin with #, are passed over.</summary>
    public string? Prompts { get; init; }

    /// <summary>Pictures of each prompt.</summary>
    public int Count { get; init; } = 1;

    /// <summary>What drawn pictures should not show. Unset: the family's empty prompt.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>Way of walking back from noise.</summary>
    public string Sampler { get; init; } = "ddim";

    /// <summary>Sampler steps; the time of drawing grows with it.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Guidance scale: how strongly prompts rule; 1 is off and halves the time of drawing.</summary>
    public double Guidance { get; init; } = 5;

    /// <summary>Arithmetic of <see cref="Model"/>.</summary>
    public Precision Precision { get; init; } = Precision.Fp32;

    /// <summary>Seed of the subsets, and of the first drawn picture; the next ones count up, all of a prompt before the next prompt.</summary>
    public long Seed { get; init; }

    /// <summary>What turns pictures into features: <c>icons</c> (embedded), the weights file of InceptionV3, or the folder of a CLIP model.</summary>
    public string Features { get; init; } = "icons";

    /// <summary>Whose way of bringing pictures to InceptionV3's size: <c>pytorch-fid</c>, <c>torch-fidelity</c> or <c>clean-fid</c>. Numbers of different ways say nothing of each other.</summary>
    public string Resize { get; init; } = "pytorch-fid";

    /// <summary>Folder of a CLIP model, for CMMD and CLIP score; null for neither.</summary>
    public string? Clip { get; init; }

    /// <summary>Folder of the pictures that were trained on, which generated ones should not repeat; null: <see cref="Real"/>.</summary>
    public string? Training { get; init; }

    /// <summary>Subsets of KID; time grows with it.</summary>
    public int Subsets { get; init; } = 100;

    /// <summary>Pictures of each set in a subset of KID; at most as many as there are.</summary>
    public int SubsetSize { get; init; } = 100;

    /// <summary>Neighbours of precision, recall, density and coverage; fewer than there are pictures.</summary>
    public int Neighbours { get; init; } = 5;

    /// <summary>The evaluation.json of an earlier evaluation to stand beside this one; null for none.</summary>
    public string? Compare { get; init; }

    /// <summary>Folder for table, page, sheet and drawn pictures; made when absent. Those of an earlier evaluation are replaced; drawn pictures are kept.</summary>
    public required string Output { get; init; }

    /// <summary>All problems of these options, each as <c>option: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(Generated is null || Model is null, $"generated: goes not with model: pictures are in a folder, or drawn");
        Check(Generated is not null || Model is not null, $"generated: not set; name a folder of generated pictures, or a model that draws them");
        Check(Model is null || Prompts is not null, $"prompts: not set; a model draws pictures of prompts: a text file with one in each line");
        Check(!IsBlank(Generated), $"generated: empty; must be a folder");
        Check(!IsBlank(Clip), $"clip: empty; must be the folder of a CLIP model");
        Check(IsBlank(Clip) || Clip is null || Directory.Exists(Clip), $"clip: {Clip}; there is no such folder: it must be that of a CLIP model");
        Check(!string.IsNullOrWhiteSpace(Features), $"features: empty; must be icons, the weights file of InceptionV3 or the folder of a CLIP model");
        Check(InceptionPicture.Ways.ContainsKey(Resize), $"resize: {Resize}; must be {string.Join(", ", InceptionPicture.Ways.Keys.SkipLast(1))} or {InceptionPicture.Ways.Keys.Last()}");
        Check(Resize == new EvaluateOptions { Real = "", Output = "" }.Resize || (Features != IconFeatures.Embedded && !Directory.Exists(Features)), $"resize: {Resize}; nothing without the weights file of InceptionV3: {Features} has its own way");
        Check(Subsets >= 1, $"subsets: {Subsets}; must be 1 or more");
        Check(SubsetSize >= 2, $"subset-size: {SubsetSize}; must be 2 or more pictures");
        Check(Neighbours >= 1, $"neighbours: {Neighbours}; must be 1 or more");
        if (Model is null && DrawingWithoutModel() is { Count: > 0 } idle) problems.Add($"{string.Join(", ", idle)}: nothing without model: pictures of a folder are not drawn");
        if (Model is not null)
        {
            Check(Count >= 1, $"count: {Count}; must be 1 or more");
            problems.AddRange((Drawing("", "") with { Output = "pictures", Count = 1 }).Validate());
        }
        if (Generated is not null && !IsBlank(Generated) && !string.IsNullOrWhiteSpace(Real) && Path.GetFullPath(Generated) == Path.GetFullPath(Real)) problems.Add($"generated: {Generated}; is the folder of real pictures too");
        foreach (var folder in new[] { Real, Generated, Training }.OfType<string>())
        {
            if (PictureWalk.ProblemOfOutput(folder, Output) is { } problem && !problems.Contains(problem)) problems.Add(problem);
        }
        return problems;

        static bool IsBlank(string? text) => text is not null && string.IsNullOrWhiteSpace(text);
    }

    /// <summary>What draws a picture of a prompt.</summary>
    internal GenerateOptions Drawing(string prompt, string output) => new()
    {
        Model = Model!,
        ModelFile = ModelFile,
        Adapters = Adapters,
        Embeddings = Embeddings,
        Prompt = prompt,
        NegativePrompt = NegativePrompt,
        PromptWeights = PromptWeights.None,   // captions are no prompts: a bracket in one is a bracket
        Sampler = Sampler,
        Steps = Steps,
        Guidance = Guidance,
        Precision = Precision,
        Seed = Seed,
        Output = output,
    };

    /// <summary>Options of drawing that are set though nothing is drawn.</summary>
    private List<string> DrawingWithoutModel()
    {
        var usual = new EvaluateOptions { Real = "", Output = "" };
        var set = new (string Name, bool IsSet)[]
        {
            ("tokenizer, config, prediction-type, ema or variant", ModelFile is not null), ("adapter", Adapters.Count > 0), ("embedding", Embeddings.Count > 0), ("prompts", Prompts is not null), ("count", Count != usual.Count), ("negative-prompt", NegativePrompt is not null),
            ("sampler", Sampler != usual.Sampler), ("steps", Steps != usual.Steps), ("guidance", Guidance != usual.Guidance), ("precision", Precision != usual.Precision),
        };
        return [.. set.Where(option => option.IsSet).Select(option => option.Name)];
    }
}
