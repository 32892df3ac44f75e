using System.Text.Json;
using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Tests.Images;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>The whole experiment on a tiny model: eight pictures in two folds, every way to train, a few steps each.</summary>
internal sealed class TinyBench : IDisposable
{
    private readonly TinyRun run = new();

    public TinyBench()
    {
        for (var i = 0; i < 8; i++) Add("set", $"picture-{i}", 64, seed: 10 + i, $"a dog, number {i}");
        for (var i = 0; i < 2; i++) Add("others", $"other-{i}", 64, seed: 40 + i, "a cat");
    }

    public string Path(params string[] parts) => run.Path(parts);

    public BenchKidOptions Options => new()
    {
        Model = TinyRun.Model,
        Output = run.Path("kid"),
        Pictures = run.Path("set"),
        Others = run.Path("others"),
        CaptionDropout = 0.3,
        Folds = 2,
        ValidationEvery = 2,
        Seeds = [3, 4],
        Arms = ["full", "lora-1", "lora-4", "textual-inversion"],
        MeasureAt = [2],
        Features = ["blocks"],
        LearningRates = new BenchKidRates { Full = [1e-4, 1e-3], Lora = [1e-3, 1e-2], TextualInversion = [1e-2] },
        Word = new BenchKidWord { Init = "dog" },
        Training = new TrainingOptions { Steps = 4, BatchSize = 2 },
        Draw = new BenchKidDrawing { Steps = 2, PerCaption = 2, BatchSize = 3 },
        Validation = new ValidationOptions { Timesteps = [200, 700] },
        Timing = new BenchKidTiming { Rounds = 1, Steps = 6 },
    };

    /// <summary>One training with one rate, nothing else.</summary>
    public BenchKidOptions Small => Options with
    {
        Arms = ["lora-1"],
        Seeds = [3],
        MeasureAt = [],
        LearningRates = new BenchKidRates { Lora = [1e-2] },
        Timing = new BenchKidTiming { Rounds = 0 },
        Training = Options.Training with { Steps = 1 },
    };

    public void Add(string folder, string name, int side, int seed, string caption)
    {
        File.WriteAllBytes(run.Path(folder, name + ".png"), Samples.Png(side, side, seed));
        File.WriteAllText(run.Path(folder, name + ".txt"), caption);
    }

    public static BenchKidResult Run(BenchKidOptions options, bool resume = false, Action<BenchKidProgress>? listen = null, BenchKidWorker? worker = null, CancellationToken cancellation = default) =>
        BenchKid.Make(options, new Told(listen), resume, worker, Blocks.Open, cancellation);

    public BenchKidMeasured Part(string name) => JsonSerializer.Deserialize<BenchKidMeasured>(File.ReadAllText(Path(["kid", "parts", .. name.Split('/'), "part.json"])), HubJson.Own)!;

    public void Dispose() => run.Dispose();

    private sealed class Told(Action<BenchKidProgress>? listen) : IProgress<BenchKidProgress>
    {
        public void Report(BenchKidProgress value) => listen?.Invoke(value);
    }
}

/// <summary>A network of features without weights: means of 4×4 blocks of pictures of 64×64.</summary>
internal sealed class Blocks(string identity) : IFeatureNetwork
{
    public string Name => "blocks";

    public string Identity => identity;

    public int Dimension => 3 * 16 * 16;

    public static IFeatureNetwork Open(string name) => new Blocks("means of blocks");

    public Tensor Features(IReadOnlyList<RgbImage> pictures)
    {
        using var scope = NewDisposeScope();
        var pixels = stack([.. pictures.Select(picture => tensor(PixelTensor.ToPlanes(picture), [3, picture.Size.Height, picture.Size.Width]))]);
        return nn.functional.avg_pool2d(pixels, 4).flatten(1).MoveToOuterDisposeScope();
    }

    public void Dispose() { }
}
