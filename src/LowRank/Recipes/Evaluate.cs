using System.Globalization;
using System.Text;
using LowRank.Data;
using LowRank.Evaluation;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>How far an evaluation is.</summary>
public sealed class EvaluateProgress
{
    internal EvaluateProgress(string doing, int done, int all, string? warning = null) => (Doing, Done, All, Warning) = (doing, done, all, warning);

    /// <summary>What is done now: "drawing", "real pictures".</summary>
    public string Doing { get; }

    /// <summary>Pictures that are done.</summary>
    public int Done { get; }

    /// <summary>How many there are.</summary>
    public int All { get; }

    /// <summary>Something its user should know before it goes on; null otherwise.</summary>
    public string? Warning { get; }
}

/// <summary>What an evaluation found, and where it lies.</summary>
public sealed class EvaluateResult
{
    internal EvaluateResult(IReadOnlyList<EvaluationMeasure> measures, IReadOnlyList<string> warnings, string folder) => (Measures, Warnings, Folder) = (measures, warnings, folder);

    /// <summary>The table.</summary>
    public IReadOnlyList<EvaluationMeasure> Measures { get; }

    /// <summary>What to know before the numbers are trusted.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>The output folder, absolute.</summary>
    public string Folder { get; }

    /// <summary>All numbers, for programs and for a later comparison.</summary>
    public string Json => Path.Combine(Folder, "evaluation.json");

    /// <summary>Table, plots and sheet on one page for a browser.</summary>
    public string Page => Path.Combine(Folder, "evaluation.html");

    /// <summary>The generated pictures nearest to training pictures, beside these.</summary>
    public string Sheet => Path.Combine(Folder, "nearest.png");
}

/// <summary>Real and generated pictures to numbers: draw where asked, turn pictures into features, compare the two sets, write.</summary>
public static class Evaluate
{
    /// <summary>Measures one set of generated pictures. The same pictures, options and seeds give the same evaluation.json, to the byte.</summary>
    /// <exception cref="LowRankException">Options, pictures, models or weights that cannot be used; too few pictures; an earlier evaluation by other features.</exception>
    public static EvaluateResult Run(EvaluateOptions options, IProgress<EvaluateProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var warnings = new List<string>();
        var earlier = options.Compare is null ? null : EvaluationReport.Read(options.Compare);
        var real = PictureFiles.Find(options.Real);
        var training = options.Training is null ? null : PictureFiles.Find(options.Training);
        var prompts = options.Prompts is null ? [] : EvaluationPictures.ReadPrompts(options.Prompts);
        var (found, sheets) = options.Generated is null ? ([], []) : EvaluationPictures.Find(options.Generated);
        if (sheets.Count > 0) Warn($"left out of {options.Generated}, being sheets of lora generate: {string.Join(", ", sheets)}");
        RunOptions.ThrowIfAny(ProblemsOfCounts(options, real.Count, options.Model is null ? found.Count : prompts.Count * options.Count), "the options");
        OutputFolder.RequireWritable(options.Output);

        using var networks = EvaluationNetworks.Open(options);
        var (network, clip) = (networks.Features, networks.Clip);
        if (earlier is not null) RequireSameFeatures(options.Compare!, earlier, network, clip);
        var generated = options.Model is null ? found : EvaluationPictures.Draw(options, prompts, (done, all) => Tell("drawing", done, all), Warn, cancellation);
        var captions = clip is null ? null : CaptionsOf(generated, clip, Warn);
        using var realScan = ScannedPictures.Of(real, networks.All, done => Tell("real pictures", done, real.Count), cancellation);
        using var generatedScan = ScannedPictures.Of(generated, networks.All, done => Tell("generated pictures", done, generated.Count), cancellation);
        using var trainingScan = training is null ? null : ScannedPictures.Of(training, [], done => Tell("training pictures", done, training.Count), cancellation);

        Tell("comparing", 0, 0);
        using var scope = NewDisposeScope();
        var (x, y) = (realScan.Features[0], generatedScan.Features[0]);
        var kid = KernelInceptionDistance.OverSubsets(x, y, options.Subsets, options.SubsetSize, options.Seed);
        var overlap = PrecisionRecall.Of(x, y, options.Neighbours);
        var repeats = TrainingRepeats.Of(generatedScan, trainingScan ?? realScan, options.Training ?? options.Real);
        warnings.AddRange(EvaluationTable.WarningsOf(network, realScan, generatedScan, earlier));
        var report = new EvaluationReport
        {
            Real = new(options.Real, real.Count, realScan.Sha256),
            Generated = new(options.Generated ?? "pictures", generated.Count, generatedScan.Sha256),
            Drawing = options.Model is null ? null : EvaluationPictures.DrawingOf(options, prompts.Count),
            Features = new(network.Name, network.Identity, network.Dimension),
            Kid = new(kid.Mean, kid.Deviation, KernelInceptionDistance.Of(x, y), options.Subsets, options.SubsetSize, options.Seed, kid.PerSubset),
            Fid = FrechetInceptionDistance.Of(x, y),
            Overlap = new(options.Neighbours, overlap.Precision, overlap.Recall, overlap.Density, overlap.Coverage),
            Diversity = new(VendiScore.Of(y), VendiScore.Of(x)),
            Clip = clip is null ? null : ClipOf(clip, realScan.Features[^1], generatedScan.Features[^1], captions),
            Duplicates = repeats.Report,
            Warnings = warnings,
        };
        var result = new EvaluateResult(EvaluationTable.Of(report, earlier), warnings, Path.GetFullPath(options.Output));
        repeats.WriteSheet(result.Sheet);
        WholeFile.Write(result.Json, report.ToJson());
        WholeFile.Write(result.Page, Encoding.UTF8.GetBytes(EvaluationPage.Html(report, earlier, result)));
        return result;

        void Tell(string doing, int done, int all) => progress?.Report(new(doing, done, all));

        void Warn(string text)
        {
            warnings.Add(text);
            progress?.Report(new("", 0, 0, text));
        }
    }

    /// <summary>Before an hour of drawing.</summary>
    private static List<string> ProblemsOfCounts(EvaluateOptions options, int real, int generated)
    {
        var (problems, fewer) = (new List<string>(), Math.Min(real, generated));
        var there = string.Create(CultureInfo.InvariantCulture, $"and there are {real} real and {generated} generated ones");
        if (fewer < 2) problems.Add(string.Create(CultureInfo.InvariantCulture, $"{(real < 2 ? "real" : "generated")}: two pictures are the least that can be compared, {there}; 50 are the least that say something"));
        else if (options.SubsetSize > fewer) problems.Add(string.Create(CultureInfo.InvariantCulture, $"subset-size: {options.SubsetSize}; a subset of KID takes so many of each set, {there}: pass {Math.Max(2, fewer / 2)}, or at most {fewer}, or bring more pictures"));
        if (fewer >= 2 && options.Neighbours >= fewer) problems.Add(string.Create(CultureInfo.InvariantCulture, $"neighbours: {options.Neighbours}; a picture needs so many others in its own set, {there}: pass {fewer - 1} or less, or bring more pictures"));
        return problems;
    }

    private static void RequireSameFeatures(string path, EvaluationReport earlier, IFeatureNetwork network, IFeatureNetwork? clip)
    {
        Require("features", earlier.Features.Identity, network.Identity);
        if (earlier.Clip is not null && clip is not null) Require("CLIP model", earlier.Clip.Identity, clip.Identity);

        void Require(string what, string theirs, string ours)
        {
            if (theirs != ours) throw new OptionsException($"compare: {path} was measured by another {(what == "features" ? "network of features" : what)}, so that its numbers say nothing beside these\n  there       {theirs}\n  here        {ours}\n  try         to evaluate both sets of pictures with the same {what}");
        }
    }

    /// <summary>What each generated picture should show; null where nothing says it, or the model reads no texts.</summary>
    private static List<string>? CaptionsOf(IReadOnlyList<PictureFile> pictures, IFeatureNetwork clip, Action<string> warn)
    {
        var captions = pictures.Select(picture => (picture.RelativePath, Found: CaptionFile.Find(picture.Path, classWords: ""))).ToList();
        var without = captions.Where(caption => caption.Found.Problem is not null).Select(caption => $"{caption.RelativePath}: {caption.Found.Problem}").ToList();
        if (clip is not ITextFeatureNetwork) warn("no CLIP score: the CLIP folder holds the picture encoder only, and no texts can be read");
        else if (without.Count == captions.Count) warn("no CLIP score: the generated pictures have no captions beside them (name.txt with the prompt)");
        else if (without.Count > 0) throw new DatasetException(string.Create(CultureInfo.InvariantCulture, $"{without.Count} of {captions.Count} generated pictures have no caption, so that no CLIP score can be given\n  {ImageFolder.FirstTen(without, "\n  ")}\n  try         a text file with the prompt beside each picture, or beside none"));
        if (clip is not ITextFeatureNetwork reader || without.Count > 0) return null;
        List<string> texts = [.. captions.Select(caption => caption.Found.Lines[0])];
        if (reader.CountCut(texts) is > 0 and var cut) warn(string.Create(CultureInfo.InvariantCulture, $"CLIP score: {cut} of {texts.Count} captions are longer than what the CLIP model reads; their ends do not count"));
        return texts;
    }

    private static EvaluatedClip ClipOf(IFeatureNetwork clip, Tensor real, Tensor generated, IReadOnlyList<string>? captions)
    {
        using var scope = NewDisposeScope();
        var (cmmd, alignment) = (Cmmd.Of(real, generated), ClipScores.ImageAlignment(generated, real).Average());
        if (captions is null) return new(clip.Identity, cmmd, alignment, null, null, null);
        var reader = (ITextFeatureNetwork)clip;
        var cosines = ClipScores.Cosines(generated, reader.TextFeatures(captions));
        return new(clip.Identity, cmmd, alignment, ClipScores.Score(cosines), cosines.Average(), reader.TextIdentity);
    }
}
