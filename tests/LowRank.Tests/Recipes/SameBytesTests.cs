using LowRank.Adapters;
using LowRank.Data;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>What docs/reproducibility.md promises of whole runs: which changes leave the bytes of the adapter as they are.</summary>
public sealed class SameBytesTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public SameBytesTests()
    {
        var pictures = Path.Combine(Repository.Root, "examples", "tango", "pictures");
        foreach (var file in Directory.GetFiles(pictures).Order(StringComparer.Ordinal).Take(10)) File.Copy(file, folder.Path("pictures", Path.GetFileName(file)));
    }

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Two_runs_give_the_same_bytes_and_another_seed_gives_others()
    {
        var expected = Train(Options("one"));
        Assert.Equal(expected, Train(Options("two")));
        Assert.NotEqual(expected, Train(Options("other") with { Seed = 4 }));
    }

    [Fact]
    public void Previews_and_saves_do_not_move_the_training()
    {
        var often = Options("often");
        often = often with { Training = often.Training with { SaveEvery = 1 }, Preview = often.Preview with { Every = 1, Prompts = ["red heart", "battery"] } };
        Assert.Equal(Weights(Train(Options("never"))), Weights(Train(often)));
    }

    [Fact]
    public void What_is_kept_on_disk_is_what_is_kept_in_memory()
    {
        var disk = Options("disk");
        disk = disk with { Training = disk.Training with { Cache = CacheKind.Disk } };
        Assert.Equal(Weights(Train(Options("memory"))), Weights(Train(disk)));
    }

    /// <summary>With everything that draws: order, flips, crops, tags, caption and adapter dropout, noise offset, several batches a step.</summary>
    [Theory]
    [InlineData(CropMode.Centre, 1)]
    [InlineData(CropMode.Centre, 4)]
    [InlineData(CropMode.Random, 3)]
    public void A_run_that_was_stopped_and_resumed_ends_in_the_same_bytes(CropMode crop, int stopAfter)
    {
        TrainLoraOptions Rich(string output)
        {
            var options = Options(output);
            return options with
            {
                Data = [options.Data[0] with { Crop = crop, Flip = true, ShuffleTags = true, TagDropout = 0.2, CaptionDropout = 0.3 }],
                Adapter = new AdapterOptions { Rank = 2, Dropout = 0.2 },
                Training = options.Training with { Accumulation = 2 },
                Noise = new NoiseOptions { NoiseOffset = 0.1 },
            };
        }
        var expected = Train(Rich("straight"));

        var stopped = Rich("stopped");
        using var stop = new CancellationTokenSource();
        var result = TrainLora.Run(stopped, new StopAfter(stopAfter, stop), cancellation: stop.Token);
        Assert.False(result.Finished);
        Assert.Equal(stopAfter, result.Steps);
        result = TrainLora.Run(stopped, resume: true, cancellation: TestContext.Current.CancellationToken);
        Assert.True(result.Finished);
        Assert.Equal(expected, File.ReadAllBytes(result.Adapter));
    }

    /// <summary>Where the file holds other weights than those that are trained: a save and a preview in between must not disturb these.</summary>
    [Theory]
    [InlineData(OptimizerKind.AdamwScheduleFree, 0)]
    [InlineData(OptimizerKind.Prodigy, 0.9)]
    public void Averaged_weights_resume_to_the_same_bytes(OptimizerKind optimizer, double decay)
    {
        TrainLoraOptions Averaged(string output)
        {
            var options = Options(output);
            var rate = optimizer == OptimizerKind.Prodigy ? 1 : options.Training.LearningRate;
            return options with { Training = options.Training with { Optimizer = optimizer, LearningRate = rate, Schedule = LearningRateShape.Constant, EmaDecay = decay } };
        }
        var expected = Train(Averaged("straight"));
        var stopped = Averaged("stopped");
        stopped = stopped with { Preview = stopped.Preview with { Every = 2 }, Training = stopped.Training with { SaveEvery = 1 } };
        using var stop = new CancellationTokenSource();
        TrainLora.Run(stopped, new StopAfter(3, stop), cancellation: stop.Token);
        var result = TrainLora.Run(stopped, resume: true, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(Weights(expected), Weights(File.ReadAllBytes(result.Adapter)));
    }

    private TrainLoraOptions Options(string output) => new()
    {
        Model = "icons-64",
        Output = Path.Combine(folder.FullName, output),
        Seed = 3,
        Data = [new DataSetOptions { Folder = Path.Combine(folder.FullName, "pictures") }],
        Adapter = new AdapterOptions { Rank = 2 },
        Training = new TrainingOptions { Steps = 5, BatchSize = 2, LearningRate = 1e-2 },
        Preview = new PreviewOptions { Prompts = ["red heart"], Steps = 1 },
    };

    private static byte[] Train(TrainLoraOptions options) =>
        File.ReadAllBytes(TrainLora.Run(options, cancellation: TestContext.Current.CancellationToken).Adapter);

    /// <summary>A safetensors file behind its header, whose metadata name the options.</summary>
    private static byte[] Weights(byte[] file) => file[(8 + (int)BitConverter.ToUInt64(file))..];

    /// <summary>Asks for a stop once a step is done, as Ctrl-C does.</summary>
    private sealed class StopAfter(int steps, CancellationTokenSource stop) : IProgress<TrainingEvent>
    {
        public void Report(TrainingEvent value)
        {
            if (value is StepFinished step && step.Step == steps) stop.Cancel();
        }
    }
}
