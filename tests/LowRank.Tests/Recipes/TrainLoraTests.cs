using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

public sealed class TrainLoraTests : IDisposable
{
    private readonly TinyRun run = new();

    public void Dispose() => run.Dispose();

    [Fact]
    public void The_loss_falls()
    {
        // nearly pure noise in, that noise to be predicted: even a tiny model learns it soon
        var losses = new List<double>();
        var options = run.Options with
        {
            Adapter = new() { Rank = 8, Targets = ["all"] },
            Training = run.Options.Training with { Steps = 60, LearningRate = 0.02, SaveEvery = 0 },
            Noise = new NoiseOptions { MinTimestep = 990 },
        };
        TinyRun.Train(options, listen: item => { if (item is StepFinished step) losses.Add(step.Loss); });
        Assert.Equal(60, losses.Count);
        Assert.True(losses.TakeLast(20).Average() < 0.8 * losses.Take(20).Average(), string.Join(' ', losses));
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3)]
    public void A_run_that_was_stopped_and_resumed_leaves_the_files_of_an_uninterrupted_one(int stopAfter)
    {
        // everything that draws: cut, mirroring, captions, dropout, two micro-batches a step
        var options = run.Options with
        {
            Data = [run.Options.Data[0] with { Crop = CropMode.Random, Flip = true, CaptionDropout = 0.3, ShuffleTags = true }],
            Adapter = run.Options.Adapter with { Dropout = 0.2 },
            Training = run.Options.Training with { Accumulation = 2 },
            Noise = new NoiseOptions { NoiseOffset = 0.05, NoiseOffsetRandomStrength = true, AdaptiveNoiseScale = 0.2, IpNoiseGamma = 0.1, TimestepDistribution = TimestepDistribution.LogitNormal },
            Preview = new PreviewOptions { Every = 2, Prompts = ["a dog"], Steps = 1 },
        };
        TinyRun.Train(options with { Output = run.Path("whole") });
        using var stop = new CancellationTokenSource();
        var first = TinyRun.Train(options, listen: item => { if (item is StepFinished step && step.Step == stopAfter) stop.Cancel(); }, cancellation: stop.Token);
        Assert.False(first.Finished);
        Assert.Equal(stopAfter, first.Steps);
        Assert.True(File.Exists(first.Adapter), first.Adapter);
        var second = TinyRun.Train(options, resume: true);
        Assert.True(second.Finished);
        string[] sheet = stopAfter == 2 ? [] : ["previews/step-000002.png"];   // stopped while that one was drawn
        foreach (var name in (string[])["adapter.safetensors", "adapter-000004.safetensors", "before-after.png", .. sheet])
        {
            Assert.Equal(File.ReadAllBytes(run.Path("whole", name)), File.ReadAllBytes(run.Path("run", name)));
        }
        Assert.Equal([1, 2, 3, 4], RunFolder.Open(run.Output).ReadEvents().OfType<StepFinished>().Select(step => step.Step));
    }

    [Theory, InlineData(CropMode.Centre, CacheKind.Memory), InlineData(CropMode.Centre, CacheKind.Disk), InlineData(CropMode.Random, CacheKind.Memory)]
    public void A_run_with_masks_and_prior_pictures_is_resumed_to_the_same_bytes_and_leaves_no_tensor_behind(CropMode crop, CacheKind cache)
    {
        foreach (var picture in Directory.GetFiles(run.Pictures, "*.png"))
        {
            var size = LowRank.Images.ImageFile.ReadHeader(File.ReadAllBytes(picture)).Size;
            File.WriteAllBytes(Path.ChangeExtension(picture, ".mask.png"), Images.Samples.Png(size.Width, size.Height, seed: 2));
        }
        var options = run.Options with
        {
            Data = [run.Options.Data[0] with { Mask = MaskSource.Sidecar, Crop = crop, Flip = true }, run.Options.Data[0] with { Prior = true, Caption = "a thing" }],
            Loss = new LossOptions { Type = LossType.Huber, NormalizeMaskedAreaLoss = true, PriorRule = PriorRule.TwoMeans, PriorLossWeight = 0.5 },
            Noise = new NoiseOptions { MultiresNoiseIterations = 3 },
            Training = run.Options.Training with { Cache = cache },
        };
        var live = new List<long>();
        TinyRun.Train(options with { Output = run.Path("whole") }, listen: item => { if (item is StepFinished) live.Add(TorchSharp.DisposeScopeManager.Statistics.ThreadTotalLiveCount); });
        using var stop = new CancellationTokenSource();
        Assert.False(TinyRun.Train(options, listen: item => { if (item is StepFinished { Step: 2 }) stop.Cancel(); }, cancellation: stop.Token).Finished);
        Assert.True(TinyRun.Train(options, resume: true).Finished);
        Assert.Equal(File.ReadAllBytes(run.Path("whole", "adapter.safetensors")), File.ReadAllBytes(run.Path("run", "adapter.safetensors")));
        Assert.Single(live.Skip(1).Distinct());
        LeakGuard.AssertNothingLeft(() => TinyRun.Train(options with { Output = run.Path(Guid.NewGuid().ToString("N")) }));
    }

    [Fact]
    public void Resuming_a_finished_run_changes_nothing()
    {
        TinyRun.Train(run.Options);
        var before = File.ReadAllBytes(run.Path("run", "adapter.safetensors"));
        Assert.True(TinyRun.Train(run.Options, resume: true).Finished);
        Assert.Equal(before, File.ReadAllBytes(run.Path("run", "adapter.safetensors")));
    }

    [Fact]
    public void The_newest_two_states_stay_however_few_adapters_do()
    {
        var options = run.Options with { Training = run.Options.Training with { SaveEvery = 1, Keep = 1 } };
        var whole = TinyRun.Train(options with { Output = run.Path("whole") });
        using var stop = new CancellationTokenSource();
        Assert.False(TinyRun.Train(options, listen: item => { if (item is StepFinished { Step: 3 }) stop.Cancel(); }, cancellation: stop.Token).Finished);
        Assert.Equal(["step-000002", "step-000003"], Directory.GetDirectories(run.Path("run", "state")).Select(Path.GetFileName).Order());
        Assert.Equal([3], RunFolder.Open(run.Output).SavedSteps());

        Directory.Delete(run.Path("run", "state", "step-000003"), recursive: true);   // one save back
        var first = 0L;
        TinyRun.Train(options, resume: true, listen: item => { if (item is RunStarted started) first = started.FirstStep; });
        Assert.Equal(2, first);
        Assert.Equal(File.ReadAllBytes(whole.Adapter), File.ReadAllBytes(run.Path("run", "adapter.safetensors")));
    }

    [Fact]
    public void A_resume_with_other_pictures_is_refused()
    {
        TinyRun.Train(run.Options);
        File.WriteAllText(run.Path("pictures", "a.txt"), "something else");
        var problem = Assert.Throws<OptionsException>(() => TinyRun.Train(run.Options, resume: true));
        Assert.Matches("""
            ^a resumed run keeps its options, and 1 changed:
              the pictures and captions themselves: [0-9a-f]{16}; the run began with [0-9a-f]{16}
              try       the old values, or a new run in another output folder$
            """.ReplaceLineEndings("\n"), problem.Message.ReplaceLineEndings("\n"));
    }

    [Fact]
    public void A_run_stopped_before_its_first_step_leaves_the_folder_as_it_was()
    {
        using var stop = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => TinyRun.Train(run.Options, listen: item => { if (item is RunStarted) stop.Cancel(); }, cancellation: stop.Token));
        Assert.False(Directory.Exists(run.Output));
        Assert.True(TinyRun.Train(run.Options).Finished);
    }

    [Fact]
    public void A_run_killed_before_its_first_save_starts_again_on_resume_and_says_so()
    {
        // what a killed process leaves: the recipe and the first line of the log
        var whole = TinyRun.Train(run.Options with { Output = run.Path("whole") });
        Directory.CreateDirectory(run.Output);
        File.Copy(run.Path("whole", "recipe.toml"), run.Path("run", "recipe.toml"));
        File.WriteAllText(run.Path("run", "events.jsonl"), File.ReadLines(run.Path("whole", "events.jsonl")).First() + "\n");
        var said = new List<string>();
        TinyRun.Train(run.Options, resume: true, listen: item => { if (item is RunWarning warning) said.Add(warning.Text); });
        Assert.Equal(["the run to go on with was cut off before its first save; it starts from its first step"], said);
        Assert.Equal(File.ReadAllBytes(whole.Adapter), File.ReadAllBytes(run.Path("run", "adapter.safetensors")));
    }

    [Fact]
    public void A_training_that_diverges_names_step_and_pictures_and_keeps_what_was_good()
    {
        var options = run.Options with { Training = run.Options.Training with { Steps = 50, LearningRate = 1e30, MaxGradientNorm = 0, SaveEvery = 0, Optimizer = OptimizerKind.Sgd }, Save = new SaveOptions { Precision = SavePrecision.Fp32 } };
        var problem = Assert.Throws<TrainingDivergedException>(() => TinyRun.Train(options));
        var last = problem.Step - 1;
        Assert.InRange(last, 1, 49);
        Assert.Equal([last], RunFolder.Open(run.Output).SavedSteps());
        Assert.Contains(problem.Items, item => item.StartsWith(run.Pictures, StringComparison.Ordinal));
        Assert.Contains($"training diverged at step {problem.Step}: loss ", problem.Message, StringComparison.Ordinal);
        Assert.Contains($"kept      the adapter of step {last}; nothing of step {problem.Step} was applied", problem.Message, StringComparison.Ordinal);
        using var state = TrainingState.OpenNewest(RunFolder.Open(run.Output).State);
        Assert.Equal(last, state!.Position.Step);
    }

    [Fact]
    public void A_picture_that_goes_away_ends_the_run_with_a_state_to_go_on_from()
    {
        var options = run.Options with { Data = [run.Options.Data[0] with { Crop = CropMode.Random }], Training = run.Options.Training with { Steps = 8, SaveEvery = 0 } };
        TinyRun.Train(options with { Output = run.Path("whole") });
        var bytes = File.ReadAllBytes(run.Path("pictures", "a.png"));
        Assert.Throws<DatasetException>(() => TinyRun.Train(options, listen: item => { if (item is StepFinished { Step: 2 }) File.Delete(run.Path("pictures", "a.png")); }));
        File.WriteAllBytes(run.Path("pictures", "a.png"), bytes);
        Assert.True(TinyRun.Train(options, resume: true).Finished);
        Assert.Equal(File.ReadAllBytes(run.Path("whole", "adapter.safetensors")), File.ReadAllBytes(run.Path("run", "adapter.safetensors")));
    }

    [Fact]
    public void A_page_that_cannot_be_written_does_not_hide_why_the_run_ended()
    {
        var options = run.Options with { Data = [run.Options.Data[0] with { Crop = CropMode.Random }], Training = run.Options.Training with { Steps = 8, SaveEvery = 0 } };
        Assert.Throws<DatasetException>(() => TinyRun.Train(options, listen: item =>
        {
            if (item is not StepFinished { Step: 2 }) return;
            Directory.CreateDirectory(run.Path("run", "report.html"));   // where the page should go
            File.Delete(run.Path("pictures", "a.png"));
        }));
        Assert.NotEmpty(RunFolder.Open(run.Output).SavedSteps());
    }

    [Fact]
    public void A_stop_while_previews_are_drawn_saves_the_step()
    {
        using var stop = new CancellationTokenSource();
        var options = run.Options with { Preview = new PreviewOptions { Every = 2, Prompts = ["a dog"], Steps = 2 }, Training = run.Options.Training with { SaveEvery = 0 } };
        var result = TinyRun.Train(options, listen: item => { if (item is StepFinished { Step: 2 }) stop.Cancel(); }, cancellation: stop.Token);
        Assert.False(result.Finished);
        Assert.False(Directory.Exists(run.Path("run", "previews")));
        Assert.Equal([2], RunFolder.Open(run.Output).SavedSteps());
    }

    [Fact]
    public void Steps_leave_no_tensor_behind()
    {
        var live = new List<long>();
        TinyRun.Train(run.Options with { Training = run.Options.Training with { Steps = 12, SaveEvery = 4 } },
            listen: item => { if (item is StepFinished) live.Add(TorchSharp.DisposeScopeManager.Statistics.ThreadTotalLiveCount); });
        Assert.Single(live.Skip(1).Distinct());
    }

    [Fact]
    public void A_run_leaves_no_tensor_behind() => LeakGuard.AssertNothingLeft(() => TinyRun.Train(run.Options with { Output = run.Path(Guid.NewGuid().ToString("N")) }));

    [Fact]
    public void A_cache_folder_is_shared_by_runs()
    {
        var options = run.Options with { Training = run.Options.Training with { Cache = CacheKind.Disk, CacheFolder = run.Path("cache") } };
        var (first, second) = (0, 0);
        TinyRun.Train(options with { Output = run.Path("one") }, listen: item => first += item is PictureEncoded ? 1 : 0);
        TinyRun.Train(options with { Output = run.Path("two") }, listen: item => second += item is PictureEncoded ? 1 : 0);
        Assert.Equal((3, 0), (first, second));
        Assert.Equal(File.ReadAllBytes(run.Path("one", "adapter.safetensors")), File.ReadAllBytes(run.Path("two", "adapter.safetensors")));
    }

    [Fact]
    public void A_preview_prompt_longer_than_the_window_is_a_warning_too()
    {
        var said = new List<string>();
        var options = run.Options with { Preview = new PreviewOptions { Prompts = [string.Join(' ', Enumerable.Repeat("dog", 76))], Steps = 1 } };
        TinyRun.Train(options, listen: item => { if (item is RunWarning warning) said.Add(warning.Text); });
        Assert.Equal(["a preview prompt is longer than the model's 77 tokens; cut away: 1 token: \"dog\""], said);
    }

    [Fact]
    public void A_caption_longer_than_the_window_is_a_warning_that_says_what_is_cut()
    {
        File.WriteAllText(run.Path("pictures", "a.txt"), string.Join(' ', Enumerable.Repeat("dog", 80)));
        var said = new List<string>();
        TinyRun.Train(run.Options, listen: item => { if (item is RunWarning warning) said.Add(warning.Text); });
        Assert.Equal([$"a caption is longer than the model's 77 tokens; cut away: 5 tokens: \"dog dog dog dog dog\"; of {run.Path("pictures", "a.png")}"], said);
    }
}
