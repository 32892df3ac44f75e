using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Whole evaluations, by the features of a tiny CLIP model.</summary>
public sealed class EvaluateTests : IDisposable
{
    private static readonly string Tango = Path.Combine(Repository.Root, "examples", "tango", "pictures");
    private readonly TemporaryFolder folder = new();

    public EvaluateTests() => TinyClip.Write(folder.Path("clip"), seed: 3);

    public void Dispose() => folder.Dispose();

    private EvaluateOptions Options(string output = "out") => new()
    {
        Real = Pictures("real", 12),
        Generated = Pictures("generated", 9, skip: 8),
        Features = folder.Path("clip"),
        Subsets = 3,
        SubsetSize = 6,
        Neighbours = 3,
        Output = folder.Path(output),
    };

    [Fact]
    public void Every_number_is_that_of_its_measure_on_the_networks_features()
    {
        using var scope = NewDisposeScope();
        var options = Options() with { Clip = folder.Path("clip") };
        var report = Run(options);
        using var network = (ITextFeatureNetwork)FeatureNetworks.Open(folder.Path("clip"));
        var (real, generated) = (Files(options.Real), Files(options.Generated!));
        var (x, y) = (network.Features([.. real.Select(ImageFile.Read)]), network.Features([.. generated.Select(ImageFile.Read)]));
        var kid = KernelInceptionDistance.OverSubsets(x, y, 3, 6, seed: 0);
        Assert.Equal(kid.PerSubset, report.Kid.PerSubset);
        Assert.Equal((kid.Mean, kid.Deviation, KernelInceptionDistance.Of(x, y)), (report.Kid.Mean, report.Kid.Deviation, report.Kid.AllPictures));
        Assert.Equal(FrechetInceptionDistance.Of(x, y), report.Fid);
        var overlap = PrecisionRecall.Of(x, y, 3);
        Assert.Equal(new EvaluatedOverlap(3, overlap.Precision, overlap.Recall, overlap.Density, overlap.Coverage), report.Overlap);
        Assert.Equal(new EvaluatedDiversity(VendiScore.Of(y), VendiScore.Of(x)), report.Diversity);
        var cosines = ClipScores.Cosines(y, network.TextFeatures([.. generated.Select(path => File.ReadAllText(Path.ChangeExtension(path, ".txt")).Trim())]));
        Assert.Equal(new EvaluatedClip(network.Identity, Cmmd.Of(x, y), ClipScores.ImageAlignment(y, x).Average(), ClipScores.Score(cosines), cosines.Average(), network.TextIdentity), report.Clip);
        Assert.Equal(new EvaluatedFeatures("clip", network.Identity, 6), report.Features);
        Assert.Equal((12, 9), (report.Real.Count, report.Generated.Count));
    }

    [Fact]
    public void More_pictures_than_are_held_at_once_give_the_same_features()
    {
        using var scope = NewDisposeScope();
        var files = LowRank.Data.PictureFiles.Find(Pictures("many", 20));
        IReadOnlyList<LowRank.Data.PictureFile> twice = [.. files, .. files];   // 40: more than one group
        using var network = FeatureNetworks.Open(folder.Path("clip"));
        using var scanned = ScannedPictures.Of(twice, [network], _ => { }, default);
        var expected = network.Features([.. files.Select(file => ImageFile.Read(file.Path))]);
        TensorAssert.Close(cat([expected, expected]), scanned.Features[0], rtol: 1e-5, atol: 1e-6);
        Assert.Equal(scanned.Hashes[3], scanned.Hashes[23]);
    }

    [Fact]
    public void The_same_pictures_and_seed_give_the_same_bytes_and_another_seed_other_subsets()
    {
        var options = Options();
        var first = Bytes(options, "a");
        Assert.Equal(first, Bytes(options, "b"));
        Assert.NotEqual(first, Bytes(options with { Seed = 1 }, "c"));

        byte[] Bytes(EvaluateOptions asked, string output) => File.ReadAllBytes(Evaluate.Run(asked with { Output = folder.Path(output) }).Json);
    }

    [Fact]
    public void Pictures_that_repeat_training_pictures_are_named_with_them_mirrored_ones_too()
    {
        var options = Options();
        var training = Pictures("training", 6, skip: 1);
        var names = Files(training);
        Write("repeat-a.png", ResizeCrop.Resize(ImageFile.Read(names[1]), new PixelSize(96, 96)));
        Write("repeat-b.png", NearDuplicates.Mirror(ImageFile.Read(names[4])));
        var report = Run(options with { Training = training });
        var near = report.Duplicates.Pairs.Where(pair => pair.Distance <= 8).Select(pair => (pair.Generated, pair.Training, pair.Mirrored)).Order();
        Assert.Equal([("repeat-a.png", Path.GetFileName(names[1]), false), ("repeat-b.png", Path.GetFileName(names[4]), true)], near.Where(pair => pair.Generated.StartsWith("repeat", StringComparison.Ordinal)));
        Assert.Equal(near.Count(), report.Duplicates.Near);
        Assert.Equal((11, 6), (report.Duplicates.Distances.Sum(), report.Duplicates.DistancesInTraining.Sum()));
        Assert.True(File.Exists(folder.Path("out", "nearest.png")));

        void Write(string name, RgbImage picture)
        {
            ImageFile.WritePng(Path.Combine(options.Generated!, name), picture);
            File.WriteAllText(Path.Combine(options.Generated!, Path.ChangeExtension(name, ".txt")), "x");
        }
    }

    [Fact]
    public void Sheets_of_generate_are_left_out_and_told_of()
    {
        var options = Options();
        File.Copy(Files(options.Generated!)[0], Path.Combine(options.Generated!, "00007-2-grid.png"));
        var report = Run(options);
        Assert.Equal(9, report.Generated.Count);
        Assert.Contains($"left out of {options.Generated}, being sheets of lora generate: 00007-2-grid.png", report.Warnings);
    }

    [Fact]
    public void A_model_draws_the_pictures_that_generate_would_and_goes_on_where_it_was_cut_off()
    {
        File.WriteAllText(folder.Path("prompts.txt"), "# two\nred heart\n\nblue car\n");
        var options = Options() with { Generated = null, Model = "icons-64", Prompts = folder.Path("prompts.txt"), Count = 3, Steps = 1, Guidance = 1, Seed = 7, Clip = folder.Path("clip") };
        var report = Run(options);
        string Drawn(string name) => folder.Path("out", "pictures", name);
        Assert.Equal(["00007.png", "00008.png", "00009.png", "00010.png", "00011.png", "00012.png"], Directory.GetFiles(folder.Path("out", "pictures"), "*.png").Select(Path.GetFileName).Order());
        Assert.Equal("blue car\n", File.ReadAllText(Drawn("00010.txt")));
        var alone = Generate.Run(new GenerateOptions { Model = "icons-64", Prompt = "blue car", Steps = 1, Guidance = 1, Seed = 11, Output = folder.Path("alone") });
        Assert.Equal(File.ReadAllBytes(Assert.Single(alone.Pictures)), File.ReadAllBytes(Drawn("00011.png")));
        Assert.Equal(new EvaluatedDrawing("icons-64", [], [], 2, 3, null, "ddim", 1, 1, "fp32", 7) { Adapters = report.Drawing!.Adapters, Embeddings = report.Drawing.Embeddings }, report.Drawing);
        Assert.NotNull(report.Clip!.Score);

        var (bytes, cut) = (File.ReadAllBytes(folder.Path("out", "evaluation.json")), File.ReadAllBytes(Drawn("00009.png")));
        File.Delete(Drawn("00009.png"));
        var kept = File.GetLastWriteTimeUtc(Drawn("00008.png"));
        Run(options);
        Assert.Equal(cut, File.ReadAllBytes(Drawn("00009.png")));
        Assert.Equal(kept, File.GetLastWriteTimeUtc(Drawn("00008.png")));
        Assert.Equal(bytes, File.ReadAllBytes(folder.Path("out", "evaluation.json")));
    }

    /// <summary>The second run draws nothing, and has the same to say of the pictures.</summary>
    [Fact]
    public void What_there_is_to_warn_of_drawn_pictures_is_in_every_report_of_them()
    {
        File.WriteAllText(folder.Path("prompts.txt"), $"red heart\n{string.Join(' ', Enumerable.Repeat("heart", 90))}\n");
        var options = Options() with { Generated = null, Model = "icons-64", Prompts = folder.Path("prompts.txt"), Count = 3, Steps = 1, Guidance = 1 };
        Assert.Contains(Run(options).Warnings, warning => warning.StartsWith("a prompt is longer than the model's ", StringComparison.Ordinal));
        var bytes = File.ReadAllBytes(folder.Path("out", "evaluation.json"));
        Run(options);
        Assert.Equal(bytes, File.ReadAllBytes(folder.Path("out", "evaluation.json")));
    }

    [Fact]
    public void Captions_that_CLIP_does_not_read_to_their_end_are_told_of()
    {
        var options = Options() with { Clip = folder.Path("clip") };
        File.WriteAllText(Path.ChangeExtension(Files(options.Generated!)[4], ".txt"), "many more letters than there is room for\n");
        Assert.Contains("CLIP score: 1 of 9 captions are longer than what the CLIP model reads; their ends do not count", Run(options).Warnings);
    }

    [Fact]
    public void A_CLIP_folder_that_is_named_for_features_too_is_opened_and_run_once()
    {
        using var once = EvaluationNetworks.Open(Options() with { Clip = folder.Path("clip") + Path.DirectorySeparatorChar });
        Assert.Same(once.Features, once.Clip);
        Assert.Same(once.Clip, Assert.Single(once.All));
        using var twice = EvaluationNetworks.Open(Options() with { Clip = TinyClip.Write(folder.Path("copy"), seed: 3) });
        Assert.Equal([twice.Features, twice.Clip!], twice.All);
        using var alone = EvaluationNetworks.Open(Options());
        Assert.Null(alone.Clip);
        Assert.Same(alone.Features, Assert.Single(alone.All));
    }

    /// <summary>"icons" is the embedded network where features are asked for; a CLIP model is a folder.</summary>
    [Fact]
    public void A_CLIP_folder_may_have_the_name_of_the_embedded_features()
    {
        const string Name = "icons";   // relative to where the tests run
        try
        {
            TinyClip.Write(Name, seed: 3);
            Assert.StartsWith("clip, ", Run(Options() with { Clip = Name }).Clip!.Identity, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(Name, recursive: true);
        }
    }

    [Fact]
    public void Pictures_of_other_making_are_not_measured_in_their_place()
    {
        File.WriteAllText(folder.Path("prompts.txt"), "red heart\nblue car\n");
        var options = Options() with { Generated = null, Model = "icons-64", Prompts = folder.Path("prompts.txt"), Count = 3, Steps = 1, Guidance = 1 };
        Run(options);
        var error = Assert.Throws<DatasetException>(() => Evaluate.Run(options with { Steps = 2 }));
        Assert.Equal($"""
            the folder for drawn pictures holds pictures of other making: {folder.Path("out", "pictures")}
              steps: 2; they were drawn with 1
              try         another output folder, or the old values; as they are, they can be measured: name their folder with generated in place of model
            """, error.Message, ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void Of_an_adapter_that_ships_the_weights_are_noted_and_not_its_name()
    {
        File.WriteAllText(folder.Path("prompts.txt"), "red heart\n");
        Run(Options() with { Generated = null, Model = "icons-64", Adapters = [new AdapterUse("icons-line")], Prompts = folder.Path("prompts.txt"), Count = 6, Steps = 1, Guidance = 1 });
        using var weights = File.OpenRead(Path.Combine(Repository.Root, "models", "adapters", "icons-line.safetensors"));
        Assert.Contains(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(weights))[..16], File.ReadAllText(folder.Path("out", "pictures", "drawn.toml")), StringComparison.Ordinal);
    }

    [Fact]
    public void Without_captions_or_texts_there_is_no_CLIP_score_and_a_warning_says_why()
    {
        var options = Options() with { Clip = folder.Path("clip") };
        foreach (var caption in Directory.GetFiles(options.Generated!, "*.txt").Skip(2)) File.Delete(caption);
        var some = Assert.Throws<DatasetException>(() => Evaluate.Run(options)).Message;
        Assert.StartsWith("7 of 9 generated pictures have no caption, so that no CLIP score can be given\n  ", some, StringComparison.Ordinal);
        Assert.EndsWith("\n  try         a text file with the prompt beside each picture, or beside none", some, StringComparison.Ordinal);
        foreach (var caption in Directory.GetFiles(options.Generated!, "*.txt")) File.Delete(caption);
        var none = Run(options);
        Assert.Null(none.Clip!.Score);
        Assert.Contains("no CLIP score: the generated pictures have no captions beside them (name.txt with the prompt)", none.Warnings);
        var blind = Run(Options("blind") with { Clip = TinyClip.Write(folder.Path("encoder"), seed: 3, texts: false) });
        Assert.Null(blind.Clip!.Score);
        Assert.Contains("no CLIP score: the CLIP folder holds the picture encoder only, and no texts can be read", blind.Warnings);
    }

    [Fact]
    public void An_earlier_evaluation_stands_beside_what_can_be_compared()
    {
        var options = Options();
        Run(options);
        var earlier = folder.Path("out", "evaluation.json");
        var same = Evaluate.Run(options with { Compare = earlier, Output = folder.Path("same") });
        Assert.All(same.Measures, measure => Assert.Equal(measure.Text, measure.Earlier));
        Assert.DoesNotContain(same.Warnings, warning => warning.Contains("earlier", StringComparison.Ordinal));

        var more = Evaluate.Run(options with { Real = Pictures("more", 13), Compare = earlier, Neighbours = 2, Output = folder.Path("more-out") });
        var shown = more.Measures.ToDictionary(measure => measure.Name, measure => measure.Earlier);
        Assert.Equal("other counts: 12 real, 9 generated", shown["FID"]);
        Assert.Equal("other counts: 12 real, 9 generated", shown["precision"]);
        Assert.Equal(same.Measures.Single(measure => measure.Name == "KID").Text, shown["KID"]);
        Assert.Contains($"the earlier evaluation had other real pictures (12 in {options.Real}): differences may come from them", more.Warnings);
        var neighbours = Evaluate.Run(options with { Compare = earlier, Neighbours = 2, Clip = folder.Path("clip"), Output = folder.Path("neighbours") }).Measures.ToDictionary(measure => measure.Name, measure => measure.Earlier);
        Assert.Equal(("other neighbours: 3", "not measured"), (neighbours["coverage"], neighbours["CMMD"]));
        Assert.Equal((same.Measures[^1].Text, "other training pictures"), (neighbours["near-duplicates"], shown["near-duplicates"]));
        var smaller = Evaluate.Run(options with { Compare = earlier, SubsetSize = 5, Output = folder.Path("smaller") });
        Assert.Equal(same.Measures[0].Text + " (subsets of 6)", smaller.Measures[0].Earlier);
        Assert.Contains(">generated, earlier<", File.ReadAllText(same.Page), StringComparison.Ordinal);
        Assert.DoesNotContain(">generated, earlier<", File.ReadAllText(more.Page), StringComparison.Ordinal);
    }

    [Fact]
    public void Another_network_of_features_cannot_be_compared()
    {
        var options = Options() with { Clip = folder.Path("clip") };
        var there = Run(options).Features.Identity;
        var other = TinyClip.Write(folder.Path("other"), seed: 4);
        using var network = FeatureNetworks.Open(other);
        var earlier = folder.Path("out", "evaluation.json");
        Assert.Equal($"""
            compare: {earlier} was measured by another network of features, so that its numbers say nothing beside these
              there       {there}
              here        {network.Identity}
              try         to evaluate both sets of pictures with the same features
            """, Assert.Throws<OptionsException>(() => Evaluate.Run(options with { Features = other, Compare = earlier })).Message, ignoreLineEndingDifferences: true);
        Assert.Equal($"""
            compare: {earlier} was measured by another CLIP model, so that its numbers say nothing beside these
              there       {there}
              here        {network.Identity}
              try         to evaluate both sets of pictures with the same CLIP model
            """, Assert.Throws<OptionsException>(() => Evaluate.Run(options with { Clip = other, Compare = earlier })).Message, ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void Inceptions_pictures_are_resized_as_asked_and_another_way_cannot_be_compared()
    {
        using var scope = NewDisposeScope();
        using var weights = LowRank.Tests.Golden.InceptionTests.Build(7);
        SafetensorsWriter.Write(folder.Path("inception.safetensors"), weights.state_dict());
        var options = Options() with { Features = folder.Path("inception.safetensors"), Real = Pictures("few", 3), Generated = Pictures("fewer", 2, skip: 8), Subsets = 1, SubsetSize = 2, Neighbours = 1 };
        Assert.Equal("pytorch-fid", options.Resize);
        foreach (var (way, input, other) in new[] { ("pytorch-fid", InceptionInput.PytorchFid, "clean-fid"), ("torch-fidelity", InceptionInput.TorchFidelity, "pytorch-fid"), ("clean-fid", InceptionInput.CleanFid, "torch-fidelity") })
        {
            var report = Run(options with { Resize = way });
            using var network = FeatureNetworks.Open(options.Features, input);
            Assert.Equal((network.Identity, $"inception-v3, input as {way}"), (report.Features.Identity, network.Identity.Split(", weights")[0]));
            var (x, y) = (network.Features([.. Files(options.Real).Select(ImageFile.Read)]), network.Features([.. Files(options.Generated!).Select(ImageFile.Read)]));
            Assert.Equal(KernelInceptionDistance.Of(x, y), report.Kid.AllPictures);
            var earlier = folder.Path("out", "evaluation.json");
            Assert.Equal($"""
                compare: {earlier} was measured by another network of features, so that its numbers say nothing beside these
                  there       {network.Identity}
                  here        {network.Identity.Replace(way, other, StringComparison.Ordinal)}
                  try         to evaluate both sets of pictures with the same features
                """, Assert.Throws<OptionsException>(() => Evaluate.Run(options with { Resize = other, Compare = earlier })).Message, ignoreLineEndingDifferences: true);
        }
    }

    /// <summary>The pictures' side is the same, so that what knows no texts can be compared.</summary>
    [Fact]
    public void A_CLIP_score_by_another_text_encoder_is_not_shown_beside_this_one()
    {
        var options = Options() with { Clip = folder.Path("clip") };
        var first = Run(options).Clip!;
        var again = options with { Compare = folder.Path("out", "evaluation.json"), Output = folder.Path("again") };
        var (same, shown) = (Shown(again), Shown(again with { Clip = TinyClip.Write(folder.Path("texts"), seed: 3, textSeed: 4) }));
        Assert.Equal(same["CLIP score"].Text, same["CLIP score"].Earlier);
        Assert.Equal(("other text encoder", same["CMMD"].Text, same["image alignment"].Text), (shown["CLIP score"].Earlier, shown["CMMD"].Earlier, shown["image alignment"].Earlier));
        var other = EvaluationReport.Read(folder.Path("again", "evaluation.json")).Clip!;
        Assert.NotEqual(first.TextAlignment, other.TextAlignment);
        Assert.Equal(first with { Score = 0, TextAlignment = 0, TextIdentity = "" }, other with { Score = 0, TextAlignment = 0, TextIdentity = "" });
        Assert.Contains(other.TextIdentity!, File.ReadAllText(folder.Path("again", "evaluation.html")), StringComparison.Ordinal);

        Dictionary<string, EvaluationMeasure> Shown(EvaluateOptions asked) => Evaluate.Run(asked).Measures.ToDictionary(measure => measure.Name);
    }

    [Fact]
    public void The_page_has_the_table_the_plots_and_the_sheet_and_takes_names_for_text()
    {
        var options = Options();
        var strange = folder.Path("<b>real", "x");
        Directory.Delete(Path.GetDirectoryName(strange)!);
        Directory.Move(options.Real, Path.GetDirectoryName(strange)!);
        var result = Evaluate.Run(options with { Real = Path.GetDirectoryName(strange)! });
        var page = File.ReadAllText(result.Page);
        Assert.All(result.Measures, measure => Assert.Contains($"<td class=\"whole\">{measure.Name}</td><td class=\"n whole\">{measure.Text}</td>", System.Net.WebUtility.HtmlDecode(page), StringComparison.Ordinal));
        Assert.Equal(2, page.Split("<svg").Length - 1);
        Assert.Contains("src=\"data:image/png;base64,", page, StringComparison.Ordinal);
        Assert.DoesNotContain("<b>real", page, StringComparison.Ordinal);
        Assert.Contains("&lt;b&gt;real", page, StringComparison.Ordinal);
    }

    [Fact]
    public void A_single_subset_and_a_single_training_picture_are_enough()
    {
        var report = Run(Options() with { Subsets = 1, Training = Pictures("one", 1) });
        Assert.Equal((0, 0), (report.Kid.Deviation, report.Duplicates.NearInTraining));
        Assert.Equal(9, report.Duplicates.Distances.Sum());
    }

    [Fact]
    public void Few_pictures_are_warned_of()
    {
        var warnings = Run(Options()).Warnings;
        Assert.Equal([
            "there are 12 real and 9 generated pictures: with fewer than 50 of each, all of these numbers are rough",
            "FID: clip gives 6 numbers to a picture, and 9 pictures are too few for their covariances; go by KID"], warnings);
    }

    private static EvaluationReport Run(EvaluateOptions options) => EvaluationReport.Read(Evaluate.Run(options).Json);

    private static List<string> Files(string folder) => [.. Directory.GetFiles(folder, "*.png").Order(StringComparer.Ordinal)];

    /// <summary>Pictures of the example with their captions.</summary>
    private string Pictures(string name, int count, int skip = 0)
    {
        var target = folder.Path(name);
        if (Directory.Exists(target)) return target;
        Directory.CreateDirectory(target);
        foreach (var file in Directory.GetFiles(Tango, "*.png").Order(StringComparer.Ordinal).Skip(skip).Take(count))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
            File.WriteAllText(Path.Combine(target, Path.GetFileNameWithoutExtension(file) + ".txt"), Path.GetFileNameWithoutExtension(file)[..6] + "\n");
        }
        return target;
    }
}
