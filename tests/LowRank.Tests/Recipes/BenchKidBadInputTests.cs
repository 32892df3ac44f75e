using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Recipes;

namespace LowRank.Tests.Recipes;

/// <summary>What the experiment refuses, before it makes anything, with the whole message.</summary>
public sealed class BenchKidBadInputTests : IDisposable
{
    private readonly TinyBench bench = new();

    public void Dispose() => bench.Dispose();

    [Fact]
    public void Every_problem_of_the_options_is_told_at_once() => Refuses<OptionsException>(
        """
        9 problems in the options

        folds                   1; must be 2 to 10
        seeds                   1, 1; must be one or more, each once
        measure_at              4; must be 1 up to, not including, the 4 steps, whose end is always measured
        arms[0]                 lora-0; must be full, textual-inversion, or lora- with a rank, such as lora-4
        arms[1]                 loha-4; must be full, textual-inversion, or lora- with a rank, such as lora-4
        learning_rates.lora     0.1, 0.1; must be one or more numbers above 0, each once
        draw.per_caption        0; must be 1 or more
        timing.steps            5; must be 6 or more, since the first 5 do not count
        training.learning_rate  0.5; does nothing here: [learning_rates] has those to try
        """,
        bench.Options with
        {
            Folds = 1,
            Seeds = [1, 1],
            MeasureAt = [4],
            Arms = ["lora-0", "loha-4"],
            LearningRates = new BenchKidRates { Lora = [0.1, 0.1] },
            Draw = bench.Options.Draw with { PerCaption = 0 },
            Timing = new BenchKidTiming { Steps = 5 },
            Training = bench.Options.Training with { LearningRate = 0.5 },
        });

    [Fact]
    public void What_a_training_recipe_of_an_arm_would_refuse() => Refuses<OptionsException>(
        """
        1 problem in the options

        training.loraplus_lr_ratio  16; does nothing without an adapter
        """, bench.Options with { Training = bench.Options.Training with { LoraplusLrRatio = 16 } });

    [Fact]
    public void Fewer_pictures_than_folds_and_KID_need() => Refuses<DatasetException>(
        $"""
        8 pictures in {bench.Path("set")} are too few: 5 folds need 10 or more, so that KID has 2 of each to judge by and every 2nd of the others can choose a rate
          try         more pictures, or smaller folds and validation_every
        """, bench.Options with { Folds = 5 });

    [Fact]
    public void No_steps_and_steps_to_measure_that_ask_for_a_save_at_nearly_every_step()
    {
        Refuses<OptionsException>(
            """
            1 problem in the options

            training.steps  0; must be 1 or more
            """, bench.Options with { MeasureAt = [], Training = bench.Options.Training with { Steps = 0 } });
        Refuses<OptionsException>(
            """
            1 problem in the options

            measure_at  80; with 12001 steps each training would be saved and measured every 1 steps, 12001 times; take steps that share a larger divisor with each other and with training.steps
            """, bench.Options with { MeasureAt = [80], Training = bench.Options.Training with { Steps = 12001 } });
    }

    [Theory, InlineData("set"), InlineData("others")]
    public void A_picture_that_is_there_twice(string folder)
    {
        var copy = bench.Path(folder, "z-copy.png");
        File.Copy(bench.Path("set", "picture-0.png"), copy);
        File.WriteAllText(Path.ChangeExtension(copy, ".txt"), "another caption");
        Refuses<DatasetException>(
            $"""
            {copy} is the same picture as {bench.Path("set", "picture-0.png")}: one of them would be learned and the other judged
              try         to take one of them out
            """, bench.Options);
    }

    [Fact]
    public void A_picture_that_cannot_be_used()
    {
        File.WriteAllText(bench.Path("set", "broken.png"), "no picture");
        File.WriteAllText(bench.Path("set", "broken.txt"), "a cat");
        var problem = Assert.Throws<DatasetException>(() => TinyBench.Run(bench.Options)).Message.Split('\n');
        Assert.Equal($"1 of the pictures in {bench.Path("set")} cannot be used", problem[0]);
        Assert.StartsWith("  broken.png: not a picture that can be read", problem[1], StringComparison.Ordinal);
        Assert.Equal("  try         to mend them, or take them out of the folder", problem[2]);
        Assert.Equal(3, problem.Length);
    }

    [Theory, InlineData("empty", false), InlineData("empty", true)]
    public void An_empty_folder(string name, bool others)
    {
        Directory.CreateDirectory(bench.Path(name));
        Refuses<DatasetException>(
            $"""
            no pictures in {bench.Path(name)}
              looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down
              try         another folder, or put pictures into this one
            """, others ? bench.Options with { Others = bench.Path(name) } : bench.Options with { Pictures = bench.Path(name) });
    }

    [Fact]
    public void A_folder_that_holds_an_experiment_and_one_that_holds_none()
    {
        Refuses<OptionsException>(
            $"""
            there is no experiment in {bench.Path("kid")}
              looked for  {bench.Path("kid", "experiment.json")}
              try         the folder that it was started with, or start a new one without --resume
            """, bench.Small, resume: true);
        TinyBench.Run(bench.Small);
        Refuses<OptionsException>(
            $"""
            the output folder already holds an experiment: {bench.Path("kid")}
              try       to go on with it (--resume), another output folder, or remove the folder
            """, bench.Small);
    }

    [Fact]
    public void Other_options_pictures_or_networks_of_features_when_it_goes_on()
    {
        TinyBench.Run(bench.Small);
        bench.Add("set", "picture-0", 64, seed: 99, "a dog, number 0");
        var before = System.Text.Json.JsonDocument.Parse(File.ReadAllText(bench.Path("kid", "experiment.json"))).RootElement.GetProperty("options").GetProperty("the pictures and captions themselves").GetString();
        var options = bench.Small with { Training = bench.Small.Training with { Steps = 2 } };
        var problem = Assert.Throws<OptionsException>(() => BenchKid.Make(options, null, true, null, _ => new Blocks("other weights"), TestContext.Current.CancellationToken));
        Assert.Equal(
            $"""
            an experiment that goes on keeps its options, and 3 changed:
              network of features blocks: other weights; the experiment began with means of blocks
              the pictures and captions themselves: {BenchKidData.Read(options, TestContext.Current.CancellationToken).Fingerprint()}; the experiment began with {before}
              training.steps: 2; the experiment began with 1
              try       the old values, or a new experiment in another output folder
            """, problem.Message, ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void Another_base_or_other_pictures_under_the_old_names_when_it_goes_on()
    {
        var options = bench.Small with { Model = bench.Path("model") };
        foreach (var file in Directory.GetFiles(TinyRun.Model, "*", SearchOption.AllDirectories)) File.Copy(file, bench.Path(["model", .. Path.GetRelativePath(TinyRun.Model, file).Split(Path.DirectorySeparatorChar)]));
        TinyBench.Run(options);
        File.AppendAllText(bench.Path("model", "unet", "config.json"), "\n");
        bench.Add("others", "other-0", 64, seed: 99, "a cat");
        var lines = Assert.Throws<OptionsException>(() => TinyBench.Run(options, resume: true)).Message.Split('\n');
        Assert.Equal("an experiment that goes on keeps its options, and 2 changed:", lines[0]);
        Assert.Matches("^  the base model itself: [0-9a-f]{16}; the experiment began with [0-9a-f]{16}$", lines[1]);
        Assert.Matches("^  the other pictures and captions themselves: [0-9a-f]{16}; the experiment began with [0-9a-f]{16}$", lines[2]);
        Assert.Equal("  try       the old values, or a new experiment in another output folder", lines[3]);
    }

    /// <summary>The last step of a training can be the one that diverges: no step after it tells.</summary>
    [Fact]
    public void A_rate_whose_loss_is_no_number_is_not_chosen()
    {
        var options = bench.Small with { LearningRates = new BenchKidRates { Lora = [1e-6, 1e-2] } };
        var judged = new BenchKidPart(BenchKidPurpose.Judge, "lora-1", 0, 3);
        void Tried(double rate, double loss)
        {
            var part = new BenchKidPart(BenchKidPurpose.Choose, "lora-1", 0, 3, rate);
            Directory.CreateDirectory(part.Folder(options));
            part.Keep(options, new BenchKidMeasured { Part = part.Name, Seconds = 1, Rate = rate, Moments = [new BenchKidMoment { Step = 1, HeldOut = loss }] });
        }
        Tried(1e-6, 0.5);
        Tried(1e-2, double.NaN);
        Assert.Equal(1e-6, BenchKidWork.ChosenRate(options, judged));
        Tried(1e-6, double.NaN);
        Assert.Equal("lora-1 diverged with every learning rate that was tried: 1E-06, 0.01\n  try         lower ones in [learning_rates]", Assert.Throws<OptionsException>(() => BenchKidWork.ChosenRate(options, judged)).Message);
    }

    /// <summary>As it may come of parts from another machine with another file.</summary>
    [Fact]
    public void Parts_by_different_networks_of_features_are_not_put_together()
    {
        TinyBench.Run(bench.Small);
        var part = bench.Path("kid", "parts", "judge", "lora-1", "fold-1", "seed-3", "part.json");
        File.WriteAllText(part, File.ReadAllText(part).Replace("means of blocks", "other weights", StringComparison.Ordinal));
        Refuses<OptionsException>(
            """
            parts of the experiment were measured by different networks of features, whose KIDs cannot be compared
              base/fold-0: means of blocks
              judge/lora-1/fold-1/seed-3: other weights
              try         to remove part.json in the folders of the older ones, and --resume
            """, bench.Small, resume: true);
    }

    [Fact]
    public void Two_networks_of_one_name() => Refuses<OptionsException>(
        "features: two of them are blocks, and KIDs are told apart by that name; leave one of them out: a, b", bench.Small with { Features = ["a", "b"] });

    [Fact]
    public void A_weights_file_that_is_none()
    {
        File.WriteAllText(bench.Path("weights.safetensors"), "no weights");
        var problem = Assert.Throws<CheckpointException>(() => BenchKid.Run(bench.Small with { Features = [bench.Path("weights.safetensors")] }, cancellation: TestContext.Current.CancellationToken));
        Assert.Throws<CheckpointException>(() => { using var network = FeatureNetworks.Open(bench.Path("weights.safetensors")); });
        Assert.Contains(bench.Path("weights.safetensors"), problem.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(bench.Path("kid")), "something was made before the file was looked at");
    }

    [Fact]
    public void A_part_that_does_not_exist_or_waits_for_others()
    {
        TinyBench.Run(bench.Small);
        var options = bench.Small;
        Assert.Equal("the experiment has no part judge/lora-2/fold-0/seed-3 (did you mean \"judge/lora-1/fold-0/seed-3\"?); its parts are base/fold-0 to judge/lora-1/fold-1/seed-3",
            Assert.Throws<OptionsException>(() => BenchKid.RunPart(options, "judge/lora-2/fold-0/seed-3", cancellation: TestContext.Current.CancellationToken)).Message);
        var two = bench.Small with { LearningRates = new BenchKidRates { Lora = [1e-3, 1e-2] } };
        Assert.Equal("judge/lora-1/fold-0/seed-3 waits for choose/lora-1/fold-0/rate-0.001, which chooses its learning rate and is not made yet\n  try         to make that first, or the whole experiment",
            Assert.Throws<OptionsException>(() => BenchKidWork.ChosenRate(two, new BenchKidPart(BenchKidPurpose.Judge, "lora-1", 0, 3))).Message);
    }

    [Fact]
    public void A_quick_form_that_the_recipe_does_not_have()
    {
        var recipe = bench.Path("recipe.toml");
        File.WriteAllText(recipe, "model = \"icons-64\"\noutput = \"kid\"\npictures = \"set\"\n");
        Assert.Equal($"quick: {recipe} says nothing of a quick form\n  try         quick = [\"training.steps=100\", \"seeds=[0]\"] in it, or the command without --quick", Assert.Throws<OptionsException>(() => BenchKidOptions.Read(recipe, quick: true)).Message);
        File.WriteAllText(recipe, "quick = [\"seeds=[7]\"]\n" + File.ReadAllText(recipe));
        Assert.Equal([7], BenchKidOptions.Read(recipe, quick: true).Seeds);
        Assert.Equal([8], BenchKidOptions.Read(recipe, ["seeds=[8]"], quick: true).Seeds);
        Assert.Equal([0, 1, 2], BenchKidOptions.Read(recipe).Seeds);
    }

    private static void Refuses<T>(string message, BenchKidOptions options, bool resume = false) where T : LowRankException =>
        Assert.Equal(message, Assert.Throws<T>(() => TinyBench.Run(options, resume)).Message, ignoreLineEndingDifferences: true);
}
