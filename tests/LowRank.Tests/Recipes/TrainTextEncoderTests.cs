using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Training;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>A text encoder that learns by itself to tell pictures: what it is asked for, that it learns it, and what is written.</summary>
public sealed class TrainTextEncoderTests : IDisposable
{
    private readonly TinyRun run = new();

    public void Dispose() => run.Dispose();

    [Fact]
    public void It_learns_to_tell_the_pictures_apart()
    {
        var losses = new List<double>();
        var options = With("run");
        Train(options with { Training = options.Training with { Steps = 60, BatchSize = 3, LearningRate = 0.01 } }, listen: item => { if (item is StepFinished step) losses.Add(step.Loss); });
        Assert.True(losses[0] > 1 && losses[^1] < 0.1, string.Join(' ', losses));   // 1 is for who knows nothing but the mean
    }

    [Fact]
    public void Only_the_text_encoder_is_new_in_the_model_that_is_written_and_a_denoiser_need_not_be_there()
    {
        var model = WithoutDenoiser();
        var made = Train(With("run") with { Model = model }).Adapter;
        Assert.Equal(["config.json"], Directory.GetFiles(Path.Combine(made, "unet")).Select(Path.GetFileName));
        Assert.Equal(TrainFullTests.Weights(model, "vae"), TrainFullTests.Weights(made, "vae"));
        Assert.Equal(File.ReadAllBytes(Path.Combine(model, "tokenizer", "vocab.json")), File.ReadAllBytes(Path.Combine(made, "tokenizer", "vocab.json")));
        var (before, after) = (TrainFullTests.Weights(model, "text_encoder"), TrainFullTests.Weights(made, "text_encoder"));
        Assert.Equal(before.Keys.Order(StringComparer.Ordinal), after.Keys.Order(StringComparer.Ordinal));   // no head
        // a constant added to every key does not change attention: its gradient is 0 but for rounding
        Assert.All(after.Where(tensor => !tensor.Key.EndsWith("k_proj.bias", StringComparison.Ordinal)), tensor => Assert.NotEqual(before[tensor.Key], tensor.Value));
        using var state = SafetensorsReader.Open(run.Path("run", "state", "step-000004", "tensors.safetensors"));
        using var family = FamilyDetector.Open(TinyRun.Model);
        var encoder = family.Component("text_encoder").parameters().Sum(parameter => parameter.numel());
        Assert.True(state.Tensors["parameters"].Shape[0] > encoder, "the head is not in the state");
    }

    /// <summary>What is written goes on as any model does, once it has a denoiser: random for that part alone.</summary>
    [Fact]
    public void Of_the_parts_that_learn_those_that_are_named_begin_with_random_weights()
    {
        var first = Train(With("first") with { Model = WithoutDenoiser() }).Adapter;
        var whole = With("run") with { Model = first, Full = new FullOptions { Parts = ["unet", "text_encoder"], Init = WeightStart.Random, RandomParts = ["unet"] } };
        whole = whole with { Training = whole.Training with { LearningRate = 1e-30, WeightDecay = 0 } };
        var second = Train(whole).Adapter;
        Assert.Equal(TrainFullTests.Weights(first, "text_encoder"), TrainFullTests.Weights(second, "text_encoder"));
        Assert.NotEqual(TrainFullTests.Weights(TinyRun.Model, "unet"), TrainFullTests.Weights(second, "unet"));
        var other = Train(whole with { Output = run.Path("other"), Full = whole.Full with { RandomParts = ["unet", "text_encoder"] } }).Adapter;
        Assert.NotEqual(TrainFullTests.Weights(first, "text_encoder"), TrainFullTests.Weights(other, "text_encoder"));
    }

    [Fact]
    public void The_loss_is_the_part_of_the_variance_of_blurred_latents_that_stays_untold()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var family = FamilyDetector.Open(TinyRun.Model);
        var data = TrainingData.Read([Square with { Repeats = 3 }, Square with { Flip = true }], 64, 0);
        using var cache = new LatentCache(null, new Listener());
        using var encoded = new EncodedData(family, data, cache, new ModelIdentity("pictures", "texts"), new TextUse(new(), true, null), new Listener());
        encoded.EncodeAhead(TestContext.Current.CancellationToken);
        using var pictures = new BlurredPictures(encoded, data);

        // by hand: every use of an epoch, a mirrored picture in half of its uses
        var uses = new List<(TrainingImage Image, bool Flip, int Times)>();
        foreach (var image in data.Images) uses.AddRange(image.Options.Flip ? [(image, false, 1), (image, true, 1)] : [(image, false, 2 * image.Repeats)]);
        var latents = uses.Select(use => family.EncodeImages(BatchLoader.Load(new PlannedBatch([new Sample(use.Image, use.Image.Centre(use.Flip), "")], null)).ToTensor(), null)).ToList();
        var (even, odd) = (TensorIndex.Slice(0, null, 2), TensorIndex.Slice(1, null, 2));
        var blurred = latents.Select(one => one.to(ScalarType.Float64)).Select(one => one[.., .., even].Plus(one[.., .., odd])).Select(rows => rows[.., .., .., even].Plus(rows[.., .., .., odd]).Over(4).flatten(1)).ToList();
        var times = uses.Select(use => (double)use.Times).ToList();
        var mean = blurred.Zip(times, (one, count) => one.Times(count)).Aggregate((left, right) => left.Plus(right)).Over(times.Sum());
        var variance = blurred.Zip(times, (one, count) => (one - mean).Squared().mean().item<double>() * count).Sum() / times.Sum();
        var told = zeros(1, mean.numel());
        Assert.Equal(1.0, latents.Zip(times, (one, count) => pictures.Unexplained(told, one).item<float>() * count).Sum() / times.Sum(), 1e-4);
        told = tensor(BetaTables.Linspace(-1, 1, (int)mean.numel()))[TensorIndex.None];
        for (var i = 0; i < latents.Count; i++) Assert.Equal((told.to(ScalarType.Float64) - (blurred[i] - mean)).Squared().mean().item<double>() / variance, pictures.Unexplained(told, latents[i]).item<float>(), 1e-3);
    }

    [Fact]
    public void The_head_reads_the_mean_over_all_tokens_but_the_first()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var generator = new Generator(3);
        using var head = DrawnNetwork.Of(new BlurredPictureHead(8, 5, LayerFactory.Meta), generator, ScalarType.Float32, CPU);
        var states = randn(2, 4, 8, generator: generator);
        var weights = head.state_dict();
        var mean = states[.., 1].Plus(states[.., 2]).Plus(states[.., 3]).Over(3);
        var normed = (mean - mean.mean([1], keepdim: true)) / mean.var(1, unbiased: false, keepdim: true).Plus(1e-5).sqrt();
        var wide = normed.matmul(weights["hidden.weight"].t()).Plus(weights["hidden.bias"]);   // the norm begins as the identity
        Assert.Equal(32, wide.size(1));
        var expected = (wide.Times(0.5) * wide.Over(Math.Sqrt(2)).erf().Plus(1)).matmul(weights["output.weight"].t()).Plus(weights["output.bias"]);
        var told = head.call(states);
        Assert.Equal([2L, 5L], told.shape);
        Assert.True((told - expected).abs().max().item<float>() < 1e-5f);
    }

    [Fact]
    public void A_resumed_run_has_the_bytes_of_an_uninterrupted_one()
    {
        TrainFullOptions Options(string name)
        {
            var options = With(name);
            return options with
            {
                Data = [Square with { Flip = true, Wildcards = true, CaptionDropout = 0.3 }],
                Training = options.Training with { Accumulation = 2, EmaDecay = 0.9 },
            };
        }
        var expected = Train(Options("straight"));
        using var stop = new CancellationTokenSource();
        Assert.False(Train(Options("stopped"), listen: made => { if (made is StepFinished { Step: 2 }) stop.Cancel(); }, cancellation: stop.Token).Finished);
        var resumed = Train(Options("stopped"), resume: true);
        Assert.Equal(TrainFullTests.Weights(expected.Adapter, "text_encoder"), TrainFullTests.Weights(resumed.Adapter, "text_encoder"));
        Assert.Contains("smoothed at the end", File.ReadAllText(resumed.Report), StringComparison.Ordinal);
    }

    [Fact]
    public void It_can_learn_in_sixteen_bits()
    {
        var options = With("run");
        Train(options with { Training = options.Training with { Precision = Precision.Bf16 } });
        using var state = SafetensorsReader.Open(run.Path("run", "state", "step-000004", "tensors.safetensors"));
        Assert.Equal("BF16", state.Tensors["parameters"].Type.ToString().ToUpperInvariant());
    }

    [Fact]
    public void A_plan_counts_the_text_encoder_and_its_head()
    {
        const int Width = 128, Numbers = 4 * 8 * 8;
        var plan = TrainFull.Plan(With("run") with { Model = "icons-64" });
        Assert.Equal((689_920, 689_920 + 2 * Width + (Width + 1) * 4 * Width + (4 * Width + 1) * Numbers), (plan.ModelParameters, plan.Parameters));
        Assert.Equal(4 * (7_240_004 + 689_920 + 681_911), plan.AdapterBytes);
    }

    [Fact]
    public void A_run_leaves_no_tensor_behind()
    {
        var options = With("run");
        LeakGuard.AssertNothingLeft(() => Train(options with { Output = run.Path(Guid.NewGuid().ToString("N")), Training = options.Training with { EmaDecay = 0.9 } }));
    }

    [Fact]
    public void What_does_nothing_or_cannot_be_is_refused()
    {
        var options = With("run");
        Refused("2 problems in the options\n\nfull.objective     blurred-picture; is for parts = [\"text_encoder\"] alone\nfull.random_parts  does nothing without init = \"random\"",
            options with { Full = new FullOptions { Parts = ["unet", "text_encoder"], Objective = TrainingObjective.BlurredPicture, RandomParts = ["unet"] } });
        Refused("2 problems in the options\n\nfull.random_parts[1]  text_encoder is there twice\nfull.random_parts[2]  \"unte\" does not learn, and is read from the model: parts has unet, text_encoder (did you mean \"unet\"?)",
            options with { Full = new FullOptions { Parts = ["unet", "text_encoder"], Init = WeightStart.Random, RandomParts = ["text_encoder", "text_encoder", "unte"] } });
        Refused(
            """
            7 problems in the options

            loss                                                                the table does nothing with full.objective = "blurred-picture"
            noise                                                               the table does nothing with full.objective = "blurred-picture"
            inpainting                                                          the table does nothing with full.objective = "blurred-picture"
            validation.share                                                    0.5; does nothing with full.objective = "blurred-picture"
            preview                                                             the table does nothing with full.objective = "blurred-picture": a text encoder draws no pictures
            data[0].prior, data[0].mask, data[0].loss_weight, data[0].held_out  do nothing with full.objective = "blurred-picture"
            data[0].crop                                                        random; not with full.objective = "blurred-picture": pictures are encoded once, before the first step
            """, options with
            {
                Loss = new LossOptions { MinSnrGamma = 5 },
                Noise = new NoiseOptions { NoiseOffset = 0.1 },
                Inpainting = new InpaintingOptions(),
                Validation = new ValidationOptions { Share = 0.5 },
                Preview = new PreviewOptions { Prompts = ["a dog"] },
                Data = [Square with { LossWeight = 2, Crop = CropMode.Random }],
            });
        var xl = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sdxl");
        Refused($"full.objective: blurred-picture; {xl} (Stable Diffusion XL) has text_encoder and text_encoder_2: made for models with one text encoder", options with { Model = xl, Full = options.Full with { Init = WeightStart.Base } });
        Refused("full.objective: blurred-picture; all pictures must have one size, and these have 64×64, 88×40: set buckets = false, and one resolution, in every [[data]] table", options with { Data = [Square with { Buckets = true }] });
        Refused("full.objective: blurred-picture; pictures of 8×8 leave nothing when they are blurred: take 16 pixels or more as resolution", options with { Data = [Square with { Resolution = 8 }] });
        Refused("full.objective: blurred-picture; all pictures are alike, and no caption could say more of one than another: add others", options with { Data = [Square with { Folder = OnePicture() }] });
        Assert.False(Directory.Exists(run.Path("run")));
    }

    private DataSetOptions Square => new() { Folder = run.Pictures, Buckets = false };

    private TrainFullOptions With(string name) => new()
    {
        Model = TinyRun.Model,
        Output = run.Path(name),
        Seed = 5,
        Data = [Square],
        Full = new FullOptions { Parts = ["text_encoder"], Objective = TrainingObjective.BlurredPicture, Init = WeightStart.Random },
        Training = new TrainingOptions { Steps = 4, BatchSize = 2, LearningRate = 0.003, SaveEvery = 0 },
        Save = new ModelSaveOptions { Precision = SavePrecision.Fp32 },
    };

    private static TrainingResult Train(TrainFullOptions options, bool resume = false, Action<TrainingEvent>? listen = null, CancellationToken cancellation = default) =>
        TrainFull.Run(options, new Listener(listen), resume, cancellation);

    private static void Refused(string message, TrainFullOptions options) => Assert.Equal(message, Assert.ThrowsAny<LowRankException>(() => Train(options)).Message);

    /// <summary>The tiny model with a configuration alone for its denoiser.</summary>
    private string WithoutDenoiser()
    {
        var copy = Copy("without");
        foreach (var weights in Directory.GetFiles(Path.Combine(copy, "unet"), "*.safetensors")) File.Delete(weights);
        return copy;
    }

    private string OnePicture()
    {
        foreach (var file in (string[])["a.png", "a.txt"]) File.Copy(run.Path("pictures", file), run.Path("one", file));
        return run.Path("one");
    }

    private string Copy(string name)
    {
        var copy = run.Path(name);
        foreach (var file in Directory.GetFiles(TinyRun.Model, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(copy, Path.GetRelativePath(TinyRun.Model, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
        return copy;
    }
}
