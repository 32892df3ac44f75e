using LowRank.Adapters;
using LowRank.Data;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>Prior pictures that the base draws before training.</summary>
public sealed class DrawnPriorTests : IDisposable
{
    private readonly TinyRun run = new();

    private TrainLoraOptions Options => run.Options with { Method = TrainingMethod.Dreambooth, Data = [new DataSetOptions { Folder = run.Pictures, Caption = "a sks dog", Buckets = false }], Prior = new PriorOptions { Prompt = "a dog", Folder = Folder, Count = 3, Seed = 7, Steps = 2 } };

    private string Folder => run.Path("class");

    public void Dispose() => run.Dispose();

    [Fact]
    public void The_base_draws_what_generate_draws_with_the_same_seeds_and_every_picture_is_told_of()
    {
        var events = new Training.Listener();
        TrainLora.Run(Options with { Adapter = Options.Adapter with { Init = AdapterInit.Pissa } }, events, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(["00007.png", "00008.png", "00009.png", "drawn.toml"], Directory.GetFiles(Folder).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        var made = Generate.Run(new GenerateOptions { Model = TinyRun.Model, Prompt = "a dog", Steps = 2, Seed = 7, Count = 3, Output = run.Path("made") }, cancellation: TestContext.Current.CancellationToken);
        foreach (var path in made.Pictures) Assert.Equal(ImageFile.Read(path).Pixels, ImageFile.Read(Path.Combine(Folder, Path.GetFileName(path))).Pixels);
        Assert.Equal([(1, 3), (2, 3), (3, 3)], events.All.OfType<PriorDrawn>().Select(drawn => (drawn.Picture, drawn.Pictures)));
        var started = Assert.Single(events.All.OfType<RunStarted>());
        Assert.Equal(0, started.Plan.PriorsToDraw);
        Assert.Contains(Folder + ": 3 pictures, all captioned \"a dog\", 0 skipped", started.Plan.Data.Lines());
    }

    [Fact]
    public void A_drawing_that_was_cut_off_goes_on_to_the_same_pictures_and_the_same_adapter()
    {
        var whole = TinyRun.Train(Options with { Output = run.Path("whole"), Prior = Options.Prior! with { Folder = run.Path("class-whole") } });
        using var stop = new CancellationTokenSource();
        Assert.ThrowsAny<OperationCanceledException>(() => TinyRun.Train(Options, listen: value =>
        {
            if (value is PriorDrawn { Picture: 2 }) stop.Cancel();
        }, cancellation: stop.Token));
        Assert.False(Directory.Exists(run.Output));
        Assert.Equal(["00007.png", "00008.png"], Directory.GetFiles(Folder, "*.png").Select(Path.GetFileName).Order(StringComparer.Ordinal));
        var drawn = new List<int>();
        var result = TinyRun.Train(Options, listen: value =>
        {
            if (value is PriorDrawn one) drawn.Add(one.Picture);
        });
        Assert.Equal([3], drawn);
        foreach (var file in Directory.GetFiles(Folder)) Assert.Equal(File.ReadAllBytes(run.Path("class-whole", Path.GetFileName(file))), File.ReadAllBytes(file));
        Assert.Equal(TinyRun.Tensors(whole.Adapter), TinyRun.Tensors(result.Adapter));
    }

    [Fact]
    public void Training_goes_the_same_way_as_with_a_folder_of_the_same_pictures()
    {
        var drawn = TinyRun.Train(Options);
        File.Delete(Path.Combine(Folder, "drawn.toml"));
        var folder = TinyRun.Train(Options with { Output = run.Path("folder"), Prior = null, Data = [Options.Data[0], new DataSetOptions { Folder = Folder, Caption = "a dog", Prior = true, Buckets = false }] });
        Assert.Equal(TinyRun.Tensors(drawn.Adapter), TinyRun.Tensors(folder.Adapter));
    }

    [Fact]
    public void More_may_be_drawn_later_and_all_of_them_are_used()
    {
        TinyRun.Train(Options);
        var events = new Training.Listener();
        TrainLora.Run(Options with { Output = run.Path("more"), Prior = Options.Prior! with { Count = 4 } }, events, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal([(4, 4)], events.All.OfType<PriorDrawn>().Select(drawn => (drawn.Picture, drawn.Pictures)));
        Assert.Equal([$"{run.Pictures}: 3 pictures, all captioned \"a sks dog\", 0 skipped, 6 uses an epoch", $"{Folder}: 4 pictures, all captioned \"a dog\", 0 skipped, 6 uses an epoch"],
            Assert.Single(events.All.OfType<RunStarted>()).Plan.Data.Lines().Where(line => !line.StartsWith(' ')));
        TrainLora.Run(Options with { Output = run.Path("fewer"), Prior = Options.Prior! with { Count = 2 } }, events, cancellation: TestContext.Current.CancellationToken);
        Assert.Contains($"{Folder}: 2 pictures, all captioned \"a dog\", 0 skipped, 3 uses an epoch", events.All.OfType<RunStarted>().Last().Plan.Data.Lines());
    }

    [Fact]
    public void A_plan_draws_nothing_and_says_what_is_to_be_drawn()
    {
        var plan = TrainLora.Plan(Options with { Loss = new LossOptions { PriorRule = PriorRule.TwoMeans } });
        Assert.Equal(3, plan.PriorsToDraw);
        Assert.True(plan.SecondsToDraw > 0);
        Assert.Equal(4.0 * 2 / 6, plan.Epochs);
        Assert.False(Directory.Exists(Folder));
    }

    [Fact]
    public void Pictures_of_another_making_are_not_mixed_with_these()
    {
        TinyRun.Train(Options);
        List<byte[]> Pictures() => [.. Directory.GetFiles(Folder, "*.png").Order(StringComparer.Ordinal).Select(File.ReadAllBytes)];
        var files = Pictures();
        var (model, sd2) = (Hash(TinyRun.Model), Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd2-v"));
        void Refused(string message, TrainLoraOptions options) => Assert.Equal(message.ReplaceLineEndings("\n"),
            Assert.Throws<DatasetException>(() => TinyRun.Train(options with { Output = run.Path("other") })).Message);
        Refused($"""
            prior.folder holds pictures of other making: {Folder}
              prompt: "a cat"; they were drawn with "a dog"
              negative_prompt: "blurry"; they were drawn with none
              steps: 3; they were drawn with 2
              try         another prior.folder, or the old values; as they are, they can go into a [[data]] table with prior = true
            """, Options with { Prior = Options.Prior! with { Prompt = "a cat", Steps = 3, NegativePrompt = "blurry" } });
        Refused($"""
            prior.folder holds pictures of other making: {Folder}
              weights: "{Hash(sd2)}"; they were drawn with "{model}"
              try         another prior.folder, or the old values; as they are, they can go into a [[data]] table with prior = true
            """, Options with { Model = sd2 });
        File.Delete(Path.Combine(Folder, "drawn.toml"));
        Refused($"""
            prior.folder holds what was not drawn for it: {Folder}
              found       00007.png, and no drawn.toml that says what drew it
              try         another prior.folder; pictures of your own go into a [[data]] table with prior = true
            """, Options);
        Assert.Equal(files, Pictures());

        static string Hash(string model) => ModelIdentity.HashOf(model, null, "scheduler", "tokenizer", "tokenizer_2", "vae", "unet", "text_encoder");
    }

    [Fact]
    public void What_is_wrong_with_the_pictures_to_learn_shows_before_anything_is_drawn()
    {
        Assert.StartsWith("no such folder of pictures", Assert.Throws<DatasetException>(() => TinyRun.Train(Options with { Data = [new DataSetOptions { Folder = run.Path("nowhere") }] })).Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Folder));
    }

    [Fact]
    public void Dreambooth_without_anything_that_preserves_the_class_is_refused() => Assert.Equal(
        "1 problem in the options\n\nmethod  dreambooth; needs something that preserves the class: [prior] with prompt and folder draws pictures of it, a [[data]] table with prior = true holds them, and loss.teacher_weight does without; or take lora",
        Assert.Throws<OptionsException>(() => TinyRun.Train(Options with { Prior = null })).Message);

    [Fact]
    public void Problems_of_the_table_are_told_by_their_keys() => Assert.Equal(
        """
        6 problems in the options

        prior.prompt    empty; must say what prior pictures show, such as "a photo of a dog"
        prior.folder    empty; must name a folder to keep prior pictures in
        prior.count     0; must be 1 or more
        prior.steps     0; must be 1 or more
        prior.guidance  0.5; must be 1 (off) or more
        prior.sampler   dimm; must be one of ddim, ddpm, euler, euler-a, heun, dpmpp-2m, dpmpp-2m-karras, unipc, lcm, pndm, dpm2, dpm2-a, dpmpp-sde, dpmpp-2m-sde, lms, tcd, deis, dpmpp-2s
        """.ReplaceLineEndings("\n"),
        Assert.Throws<OptionsException>(() => TinyRun.Train(Options with { Prior = new PriorOptions { Prompt = "", Folder = " ", Count = 0, Steps = 0, Guidance = 0.5, Sampler = "dimm" } })).Message);

    [Fact]
    public void An_adapter_names_no_folder_of_the_machine()
    {
        var result = TinyRun.Train(Options);
        Assert.Contains("folder = \"class\"", InspectAdapter.Run(result.Adapter).Metadata["lowrank.options"], StringComparison.Ordinal);
        Assert.DoesNotContain(Folder, string.Join('\n', InspectAdapter.Run(result.Adapter).Metadata.Values), StringComparison.Ordinal);
    }

    [Fact]
    public void An_inpainting_model_draws_them_in_a_hole_as_large_as_the_picture()
    {
        var model = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1-inpaint");
        Assert.True(TinyRun.Train(Options with { Model = model, Inpainting = new InpaintingOptions() }).Finished);
        var (grey, white) = (run.Path("grey.png"), run.Path("white.png"));
        var size = ImageFile.Read(Path.Combine(Folder, "00007.png")).Size;
        ImageFile.WritePng(grey, new RgbImage(size, [.. Enumerable.Repeat((byte)90, size.Width * size.Height * 3)]));
        ImageFile.WritePng(white, new RgbImage(size, [.. Enumerable.Repeat((byte)255, size.Width * size.Height * 3)]));
        var made = Generate.Run(new GenerateOptions { Model = model, Prompt = "a dog", Steps = 2, Seed = 7, Image = grey, Mask = white, NoiseStrength = 1, Output = run.Path("made") }, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(ImageFile.Read(made.Pictures[0]).Pixels, ImageFile.Read(Path.Combine(Folder, "00007.png")).Pixels);
    }

    [Fact]
    public void Drawing_leaves_no_tensor_behind()
    {
        var number = 0;
        LeakGuard.AssertNothingLeft(() => TinyRun.Train(Options with { Output = run.Path($"run-{++number}"), Prior = Options.Prior! with { Folder = run.Path($"class-{number}") } }));
    }

    /// <summary>The words are learned from their own pictures, also where a batch has none of them.</summary>
    [Fact]
    public void A_pivotal_tuning_has_prior_pictures_too_whose_captions_stay_as_they_are()
    {
        var options = new TrainPivotalOptions
        {
            Model = TinyRun.Model,
            Output = run.Output,
            Template = CaptionTemplate.Object,
            Data = Options.Data,
            Prior = Options.Prior,
            Tokens = [new LearnedTokenOptions { Token = "<s1>" }],
            Inversion = new InversionOptions { Steps = 6 },
            Adapter = Options.Adapter,
            Training = Options.Training with { BatchSize = 1 },
            Preview = Options.Preview,
        };
        Assert.True(TrainPivotal.Run(options, cancellation: TestContext.Current.CancellationToken).Finished);
        using var family = FamilyDetector.Open(TinyRun.Model);
        Assert.Equal(["a dog"], TokenTraining.ReadData(options, options.Tokens, options.Template, family, TestContext.Current.CancellationToken).Images
            .Where(image => image.Options.Prior).SelectMany(image => Captions.Forms(image.Caption, image.Options.CaptionRules)!).Distinct());
    }
}
