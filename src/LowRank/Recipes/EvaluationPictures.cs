using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using LowRank.Adapters;
using LowRank.Data;
using LowRank.Families;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>The generated pictures of an evaluation: found in a folder, or drawn into the output folder, each with its prompt beside it.</summary>
internal static partial class EvaluationPictures
{
    /// <summary>The pictures of a folder, without the sheets that <c>lora generate</c> puts beside its pictures.</summary>
    /// <exception cref="DatasetException">The folder is missing or has no pictures.</exception>
    public static (IReadOnlyList<PictureFile> Pictures, IReadOnlyList<string> Sheets) Find(string folder)
    {
        var all = PictureFiles.Find(folder);
        var sheets = all.Where(picture => Sheet().IsMatch(Path.GetFileName(picture.Path))).Select(picture => picture.RelativePath).ToList();
        return sheets.Count == all.Count ? (all, []) : ([.. all.Where(picture => !sheets.Contains(picture.RelativePath))], sheets);
    }

    /// <summary>The prompts of a file.</summary>
    /// <exception cref="DatasetException">There is no such file, it is no text, or has no prompt.</exception>
    public static IReadOnlyList<string> ReadPrompts(string path)
    {
        if (!File.Exists(path)) throw new DatasetException($"no such file of prompts: {path}\n  try         a text file with a prompt in each line");
        var found = CaptionFile.Parse(File.ReadAllBytes(path), Path.GetFileName(path));
        if (found.Problem?.EndsWith("UTF-8", StringComparison.Ordinal) == true) throw new DatasetException($"the file of prompts is not UTF-8: {path}\n  try         a text file with a prompt in each line, saved as UTF-8");
        var prompts = found.Lines.Where(line => !line.StartsWith('#')).ToList();
        return prompts.Count > 0 ? prompts : throw new DatasetException($"no prompts in {path}\n  try         a text file with a prompt in each line; lines that begin with # do not count");
    }

    /// <summary>Draws those that are missing: all of a prompt, then the next prompt, each with a seed of its own. A drawing that was cut off goes on.</summary>
    /// <param name="options">Valid, with a model.</param>
    /// <param name="prompts">At least one.</param>
    /// <param name="progress">Hears of each picture: how many are done of how many.</param>
    /// <param name="warn">Hears of what does not fit the model.</param>
    /// <param name="cancellation">Stops between calls of the denoiser; finished pictures stay.</param>
    /// <returns>The pictures, in the order of their seeds.</returns>
    /// <exception cref="LowRankException">Model or adapters cannot be used, or the folder holds other pictures.</exception>
    public static IReadOnlyList<PictureFile> Draw(EvaluateOptions options, IReadOnlyList<string> prompts, Action<int, int> progress, Action<string> warn, CancellationToken cancellation)
    {
        var folder = Path.GetFullPath(Path.Combine(options.Output, "pictures"));
        using var quiet = no_grad();
        using var family = FamilyDetector.Open(options.Model!, options.Precision == Training.Precision.Bf16 ? ScalarType.BFloat16 : ScalarType.Float32, files: options.ModelFile);
        foreach (var warning in family.Warnings) warn(warning);
        var note = NoteOf(options, prompts, family.ComponentNames);
        if (!DrawnFolder.IsClaimed(folder, note, "the folder for drawn pictures", "another output folder", ("to measure pictures that are there, name their folder with generated in place of model", "as they are, they can be measured: name their folder with generated in place of model"))) DrawnFolder.Claim(folder, note);
        var pictures = Enumerable.Range(0, prompts.Count * options.Count).Select(i => FileOf(folder, options.Seed + i)).ToList();
        var missing = Enumerable.Range(0, pictures.Count).Where(i => !File.Exists(pictures[i].Path)).ToList();
        // also where nothing is missing: what there is to warn of belongs into every report of these pictures
        using var studio = Studio.Over(family, options.Model!);
        studio.LoadAll(NamedInPrompts.OfFiles(options.Drawing("", folder)), allowUnmatched: false, warn);
        foreach (var prompt in prompts.Append(options.NegativePrompt).OfType<string>().Distinct())
        {
            if (family.CutText(prompt) is { } cut) warn($"a prompt is longer than the model's {family.PromptLength} tokens; cut away: {cut}");
        }
        using var start = StartPicture.Of(options.Drawing("", folder), family);
        var done = pictures.Count - missing.Count;
        foreach (var i in missing)
        {
            var drawing = options.Drawing(prompts[i / options.Count], folder) with { Seed = options.Seed + i };
            var picture = studio.Picture(drawing, start, onStep: null, cancellation);
            WholeFile.Write(pictures[i].Stem + ".txt", Encoding.UTF8.GetBytes(drawing.Prompt + "\n"));   // the picture last: where it is, all of it is
            WholeFile.Write(pictures[i].Path, studio.Png(picture, drawing, start.Size));
            progress(++done, pictures.Count);
        }
        return pictures;
    }

    /// <summary>What drew the pictures, for the report.</summary>
    public static EvaluatedDrawing DrawingOf(EvaluateOptions options, int prompts) => new(
        options.Model!,
        [.. options.Adapters.Select(use => string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(use.File)}: {use.InWords()}"))],
        [.. options.Embeddings.Select(use => Path.GetFileName(use.File) + (use.Token is null ? "" : $": {use.Token}"))],
        prompts, options.Count, options.NegativePrompt, options.Sampler, options.Steps, options.Guidance, RecipeFile.Word(options.Precision.ToString()), options.Seed);

    /// <summary>Named by their seed, as <c>lora generate</c> does.</summary>
    private static PictureFile FileOf(string folder, long seed)
    {
        var name = seed.ToString("D5", CultureInfo.InvariantCulture) + ".png";
        return new PictureFile(Path.Combine(folder, name), name);
    }

    private static DrawnNote NoteOf(EvaluateOptions options, IReadOnlyList<string> prompts, IEnumerable<string> components) => new()
    {
        Model = Path.GetFileName(Path.TrimEndingDirectorySeparator(options.Model!)),
        Weights = ModelIdentity.HashOf(options.Model!, options.ModelFile, ["scheduler", "tokenizer", "tokenizer_2", "vae", .. components]),
        Adapters = [.. options.Adapters.Select(use => string.Create(CultureInfo.InvariantCulture, $"{HashOf(use.File)} {use.InWords()}"))],
        Embeddings = [.. options.Embeddings.Select(use => $"{HashOf(use.File)} {use.Token}")],
        Prompts = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', prompts)))),
        Count = options.Count,
        NegativePrompt = options.NegativePrompt,
        Sampler = options.Sampler,
        Steps = options.Steps,
        Guidance = options.Guidance,
        Precision = options.Precision,
        FirstSeed = options.Seed,
    };

    /// <summary>A file that is not there is told of where it is opened; a folder (PEFT's) by its files.</summary>
    private static string HashOf(string nameOrPath)
    {
        var path = ShippedAdapters.Find(nameOrPath);
        return Directory.Exists(path) ? ModelIdentity.HashOf(Directory.GetFiles(path).Order(StringComparer.Ordinal).Select(file => (Path.GetFileName(file), file))) : File.Exists(path) ? Training.CacheKey.OfFile(path) : path;
    }

    [GeneratedRegex(@"^\d{5,}(-\d+)?-(?:grid|sweep)\.png$")]
    private static partial Regex Sheet();

    /// <summary>What drew the pictures of a folder: all that their pixels depend on.</summary>
    internal sealed record DrawnNote
    {
        public string Model { get; init; } = "";
        public string Weights { get; init; } = "";

        /// <summary>Hashes with strengths.</summary>
        public IReadOnlyList<string> Adapters { get; init; } = [];

        /// <summary>Hashes with tokens.</summary>
        public IReadOnlyList<string> Embeddings { get; init; } = [];

        /// <summary>Hash of all of them: which seed a prompt gets depends on those before.</summary>
        public string Prompts { get; init; } = "";

        public int Count { get; init; }
        public string? NegativePrompt { get; init; }
        public string Sampler { get; init; } = "";
        public int Steps { get; init; }
        public double Guidance { get; init; }
        public Training.Precision Precision { get; init; }
        public long FirstSeed { get; init; }
    }
}
