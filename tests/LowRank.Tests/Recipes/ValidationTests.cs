using LowRank.Data;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Images;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

public sealed class ValidationTests : IDisposable
{
    private readonly TinyRun run = new();

    public ValidationTests()
    {
        foreach (var (name, width, height) in new[] { ("x", 64, 64), ("y", 48, 96) })
        {
            File.WriteAllBytes(run.Path("held-out", name + ".png"), Samples.Png(width, height, seed: name[0]));
            File.WriteAllText(run.Path("held-out", name + ".txt"), "a tree, in the garden");
        }
    }

    public void Dispose() => run.Dispose();

    private TrainLoraOptions Options => run.Options with { Data = [run.Options.Data[0], HeldOut] };

    private DataSetOptions HeldOut => new() { Folder = run.Path("held-out"), HeldOut = true };

    /// <summary>With everything that draws or drops.</summary>
    private TrainLoraOptions Rich => run.Options with
    {
        Data = [run.Options.Data[0] with { Crop = CropMode.Random, Flip = true, ShuffleTags = true, CaptionDropout = 0.3 }],
        Adapter = run.Options.Adapter with { Dropout = 0.2, ModuleDropout = 0.4 },
        TextEncoder = new TextEncoderOptions { LearningRate = 0.01 },
        Training = run.Options.Training with { EmaDecay = 0.9 },
        Noise = new NoiseOptions { NoiseOffset = 0.1 },
    };

    [Theory, InlineData(false), InlineData(true)]
    public void A_run_that_measures_trains_exactly_as_one_that_does_not(bool rich)
    {
        var options = rich ? Rich : run.Options;
        var expected = TinyRun.Tensors(TinyRun.Train(options with { Output = run.Path("without") }).Adapter);
        var measured = TinyRun.Train(options with { Data = [.. options.Data, HeldOut], Validation = new ValidationOptions { Every = 1 } });
        Assert.Equal(expected, TinyRun.Tensors(measured.Adapter));
        Assert.Equal([0, 1, 2, 3, 4], Measures().Select(item => item.Step));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Methods_with_learned_tokens_are_measured_and_train_as_without(bool pivotal)
    {
        var tokens = new[] { new LearnedTokenOptions { Token = "<s1>", Init = "dog" } };
        TrainingResult Train(string output, params DataSetOptions[] also) => pivotal
            ? TrainPivotal.Run(new TrainPivotalOptions { Model = TinyRun.Model, Output = output, Template = CaptionTemplate.Object, Tokens = tokens, Data = [run.Options.Data[0], .. also], Inversion = new() { Steps = 2 }, Adapter = new() { Rank = 2, ModuleDropout = 0.4 }, Training = run.Options.Training with { Steps = 2 }, Preview = run.Options.Preview }, cancellation: TestContext.Current.CancellationToken)
            : TrainTextualInversion.Run(new TrainTextualInversionOptions { Model = TinyRun.Model, Output = output, Template = CaptionTemplate.Object, Tokens = tokens, Data = [run.Options.Data[0], .. also], Training = run.Options.Training, Preview = run.Options.Preview }, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(TinyRun.Tensors(Train(run.Path("without")).Adapter), TinyRun.Tensors(Train(run.Output, HeldOut).Adapter));
        Assert.Equal([0, 1, 2, 3, 4], Measures().Select(item => item.Step));
        Assert.Equal(5, Measures().Select(item => item.Loss).Distinct().Count());
    }

    [Fact]
    public void Whole_models_are_measured_and_train_as_without()
    {
        string Train(string output, params DataSetOptions[] also) =>
            Convert.ToHexString(File.ReadAllBytes(Directory.GetFiles(TrainFull.Run(new TrainFullOptions { Model = TinyRun.Model, Output = output, Data = [run.Options.Data[0], .. also], Training = run.Options.Training with { LearningRate = 1e-3, EmaDecay = 0.9 }, Preview = run.Options.Preview }, cancellation: TestContext.Current.CancellationToken).Adapter, "*.safetensors", SearchOption.AllDirectories).Single(file => file.Contains("unet", StringComparison.Ordinal)))[^1000..]);
        Assert.Equal(Train(run.Path("without")), Train(run.Output, HeldOut));
        Assert.Equal(5, Measures().Select(item => item.Loss).Distinct().Count());
    }

    [Theory, InlineData(HoleSource.Random), InlineData(HoleSource.Masks)]
    public void Inpainting_models_are_measured_with_fixed_holes_and_train_as_without(HoleSource holes)
    {
        foreach (var picture in Directory.GetFiles(run.Pictures, "*.png").Concat(Directory.GetFiles(HeldOut.Folder, "*.png")))
        {
            var size = LowRank.Images.ImageFile.ReadHeader(File.ReadAllBytes(picture)).Size;
            File.WriteAllBytes(Path.ChangeExtension(picture, ".mask.png"), Samples.Png(size.Width, size.Height, seed: 2));
        }
        var mask = holes == HoleSource.Masks ? MaskSource.Sidecar : MaskSource.None;
        TrainLoraOptions Of(string output, double fullHoles) => run.Options with
        {
            Model = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1-inpaint"),
            Output = run.Path(output),
            Data = [run.Options.Data[0] with { Mask = mask }],
            Inpainting = holes == HoleSource.Random ? new InpaintingOptions { FullHoles = fullHoles } : new InpaintingOptions { Holes = holes },
        };
        var without = TinyRun.Tensors(TinyRun.Train(Of("without", 0.5)).Adapter);
        TrainLoraOptions Measured(TrainLoraOptions options) => options with { Data = [.. options.Data, HeldOut with { Mask = mask }] };
        Assert.Equal(without, TinyRun.Tensors(TinyRun.Train(Measured(Of("run", 0.5))).Adapter));
        TinyRun.Train(Measured(Of("other", 0)));
        Assert.Equal(Measures("other")[0].Losses, Measures()[0].Losses);
        Assert.Equal(5, Measures().Select(item => item.Loss).Distinct().Count());
    }

    [Fact]
    public void Runs_with_different_recipes_measure_the_same_before_training()
    {
        TinyRun.Train(Options with { Output = run.Path("plain") });
        TinyRun.Train(Options with
        {
            Seed = 77,
            Adapter = run.Options.Adapter with { Rank = 3, Init = LowRank.Adapters.AdapterInit.Orthogonal },
            Training = run.Options.Training with { Steps = 3, BatchSize = 1, Optimizer = OptimizerKind.Sgd },
            Loss = new LossOptions { Type = LossType.Huber, MinSnrGamma = 1 },
            Noise = new NoiseOptions { MinTimestep = 500, NoiseOffset = 0.3 },
            Data = [run.Options.Data[0] with { Repeats = 2 }, HeldOut],
        });
        var (plain, other) = (Measures("plain"), Measures());
        Assert.Equal(plain[0].Losses, other[0].Losses);
        Assert.Equal(plain[0].Pictures.Select(item => (item.Picture, item.Loss)), other[0].Pictures.Select(item => (item.Picture, item.Loss)));
        Assert.NotEqual(plain[^1].Loss, other[^1].Loss);
        Assert.InRange(plain[0].Loss, 0.3, 3);   // squared error of an untrained model: about that of predicting nothing, 1
    }

    [Fact]
    public void Adding_a_held_out_picture_leaves_the_numbers_of_the_others()
    {
        TinyRun.Train(Options with { Output = run.Path("two") });
        File.WriteAllBytes(run.Path("held-out", "a new one.png"), Samples.Png(64, 64, seed: 33));
        File.WriteAllText(run.Path("held-out", "a new one.txt"), "a horse");
        TinyRun.Train(Options);
        Assert.Equal(Pictures("two"), Pictures("run").Where(item => !item.Item1.Contains("new", StringComparison.Ordinal)));

        IEnumerable<(string, double)> Pictures(string folder) => Measures(folder).SelectMany(item => item.Pictures).Select(item => (item.Picture, item.Loss));
    }

    [Fact]
    public void Held_out_pictures_are_never_trained_on()
    {
        var options = run.Options with { Training = run.Options.Training with { Steps = 12 }, Validation = new ValidationOptions { Share = 0.2, Every = 0 } };
        TinyRun.Train(options);
        var held = Measures()[0].Pictures.Select(item => item.Picture).ToList();
        var used = RunFolder.Open(run.Output).ReadEvents().OfType<StepFinished>().SelectMany(step => step.Uses).Select(use => use.Picture).Distinct().ToList();
        Assert.NotEmpty(held);
        Assert.Equal(["a.png", "b.png", "c.png"], held.Concat(used).Order());   // together all, and none twice
        Assert.Equal([0, 12], Measures().Select(item => item.Step));
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3)]
    public void A_resumed_run_has_measured_what_an_uninterrupted_one_has(int stopAfter)
    {
        var options = Options with { Validation = new ValidationOptions { Every = 2 } };
        TinyRun.Train(options with { Output = run.Path("whole") });
        using var stop = new CancellationTokenSource();
        TinyRun.Train(options, listen: item => { if (item is StepFinished step && step.Step == stopAfter) stop.Cancel(); }, cancellation: stop.Token);
        TinyRun.Train(options, resume: true);
        Assert.Equal([0, 2, 4], Measures().Select(item => item.Step));
        Assert.Equal(Measures("whole").Select(item => item.Loss), Measures().Select(item => item.Loss));
    }

    [Fact]
    public void The_weights_that_a_save_writes_are_measured()
    {
        double Last(bool average)
        {
            var options = Options with { Output = run.Path(average ? "average" : "plain"), Training = run.Options.Training with { EmaDecay = 0.9 }, Save = new SaveOptions { Ema = average }, Validation = new ValidationOptions { Every = 0 } };
            TinyRun.Train(options);
            return Measures(average ? "average" : "plain")[^1].Loss;
        }
        Assert.NotEqual(Last(true), Last(false));
    }

    [Fact]
    public void TensorBoard_has_everything_that_is_watched()
    {
        TinyRun.Train(Options with { Training = run.Options.Training with { Steps = 30, BatchSize = 3 } });
        var file = System.Text.Encoding.Latin1.GetString(File.ReadAllBytes(Assert.Single(Directory.GetFiles(run.Path("run", "tensorboard"), "*", SearchOption.AllDirectories))));
        foreach (var tag in (string[])["loss/smoothed", "gradient_norm", "held_out/loss", "held_out/timestep_500", "norm/unet.mid_block", "error_by_timestep/900-999", "pictures with the highest loss", "| pictures/a.png |"])
        {
            Assert.Contains(tag, file, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_run_that_is_stopped_while_it_measures_before_its_first_step_leaves_nothing()
    {
        using var stop = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => TinyRun.Train(Options, listen: item => { if (item is HeldOutMeasured) stop.Cancel(); }, cancellation: stop.Token));
        Assert.False(Directory.Exists(run.Output));
    }

    [Fact]
    public void A_folder_in_two_data_sets_is_held_out_in_both_and_the_page_is_written()
    {
        var share = run.Options with { Data = [run.Options.Data[0], run.Options.Data[0] with { Repeats = 2 }], Validation = new ValidationOptions { Share = ShareOfOne() } };
        TinyRun.Train(share);
        Assert.Equal(2, Measures()[0].Pictures.Count);
        Assert.Contains(" of 2 pictures better than at first", File.ReadAllText(run.Path("run", "report.html")), StringComparison.Ordinal);

        double ShareOfOne() => Directory.GetFiles(run.Pictures, "*.png").Select(HeldOutPictures.PlaceOf).Order().Take(2).Average();
    }

    [Fact]
    public void Timesteps_that_the_model_does_not_have_are_refused()
    {
        var model = run.Path("short");
        foreach (var file in Directory.GetFiles(TinyRun.Model, "*", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(model, Path.GetRelativePath(TinyRun.Model, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
        var schedule = Path.Combine(model, "scheduler", "scheduler_config.json");
        File.WriteAllText(schedule, File.ReadAllText(schedule).Replace("\"num_train_timesteps\": 1000", "\"num_train_timesteps\": 500", StringComparison.Ordinal));
        var problem = Assert.Throws<OptionsException>(() => TinyRun.Train(Options with { Model = model, Noise = new NoiseOptions { MaxTimestep = 499 } }));
        Assert.Equal($"1 problem in the recipe for the model {model}\n\nvalidation.timesteps  500, 700, 900; this model has 0 to 499", problem.Message);
    }

    [Fact]
    public void Measuring_leaves_no_tensor_behind()
    {
        var live = new List<long>();
        TinyRun.Train(Options with { Validation = new ValidationOptions { Every = 1 } }, listen: item => { if (item is StepFinished) live.Add(TorchSharp.DisposeScopeManager.Statistics.ThreadTotalLiveCount); });
        Assert.Single(live.Skip(1).Distinct());
        LeakGuard.AssertNothingLeft(() => TinyRun.Train(Options with { Output = run.Path(Guid.NewGuid().ToString("N")) }));
    }

    [Fact]
    public void Every_problem_of_the_table_is_named()
    {
        var options = run.Options with { Validation = new ValidationOptions { Share = 1, Every = -1, Timesteps = [1000, 5, 5] } };
        Assert.Equal(
            [
                "validation.share: 1; must be 0 (none) to below 1",
                "validation.every: -1; must be 0 (only before and after) or more",
                "validation.timesteps: 1000; must be 0 to 999",
                "validation.timesteps: 1000, 5, 5; each counts once",
            ], options.Validate());
        options = Options with { Validation = new ValidationOptions { Every = 5, Timesteps = [] } };
        Assert.Equal(
            [
                "validation.every: 5; is more than the 4 steps of the run; 0 measures before and after",
                "validation.timesteps: empty; name at least one, 0 to 999",
            ], options.Validate());
    }

    [Fact]
    public void Keys_that_would_do_nothing_are_refused() =>
        Assert.Equal(["validation.every, timesteps, seed: do nothing without held-out pictures: share, or a [[data]] table with held_out = true"],
            (run.Options with { Validation = new ValidationOptions { Seed = 3 } }).Validate());

    [Fact]
    public void A_recipe_that_trains_on_nothing_is_refused()
    {
        Assert.Equal(["data: every set has held_out = true; add one with the pictures to learn"], (run.Options with { Data = [HeldOut] }).Validate());
        Assert.Equal(["data: every set has prior or held_out = true; add one with the pictures to learn"], (run.Options with { Data = [HeldOut, HeldOut with { HeldOut = false, Prior = true }] }).Validate());
        Assert.Equal(["data[1].held_out: true; prior pictures are there to be trained on"], (run.Options with { Data = [run.Options.Data[0], HeldOut with { Prior = true }] }).Validate());
    }

    [Fact]
    public void A_resume_with_another_share_is_refused()
    {
        TinyRun.Train(run.Options with { Validation = new ValidationOptions { Share = 0.2 } });
        var problem = Assert.Throws<OptionsException>(() => TinyRun.Train(run.Options with { Validation = new ValidationOptions { Share = 0.22 } }, resume: true));
        Assert.Equal("""
            a resumed run keeps its options, and 1 changed:
              validation.share: 0.22; the run began with 0.2
              try       the old values, or a new run in another output folder
            """.ReplaceLineEndings("\n"), problem.Message.ReplaceLineEndings("\n"));
    }

    private List<HeldOutMeasured> Measures(string folder = "run") => [.. RunFolder.Open(run.Path(folder)).ReadEvents().OfType<HeldOutMeasured>()];
}
