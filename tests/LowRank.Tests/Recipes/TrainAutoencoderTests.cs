using LowRank.Data;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>An autoencoder trained by a recipe: pictures come back better, latents become standard, a resumed run has the same bytes.</summary>
public sealed class TrainAutoencoderTests : IDisposable
{
    private readonly TinyRun run = new();

    public void Dispose() => run.Dispose();

    [Fact]
    public void Pictures_come_back_better_and_the_log_says_how_much()
    {
        var options = With("run");
        var measured = new List<ReconstructionMeasured>();
        var result = Train(options with { Training = options.Training with { Steps = 40, LearningRate = 0.01 }, Preview = new PreviewOptions { Every = 20, Captions = 2 } }, listen: item => { if (item is ReconstructionMeasured one) measured.Add(one); });
        Assert.Equal([0, 20, 40], measured.Select(one => one.Step));
        Assert.All(measured, one => Assert.Equal(3, one.Pictures));
        Assert.True(measured[2].Psnr > measured[0].Psnr + 2, string.Join(' ', measured.Select(one => one.Psnr)));
        Assert.True(File.Exists(result.BeforeAfter));
        Assert.True(File.Exists(run.Path("run", "previews", "step-000020.png")));
        Assert.Contains(FormattableString.Invariant($"{measured[0].Psnr:0.0} dB before, {measured[2].Psnr:0.0} dB now; PSNR, mean of 3 pictures"), File.ReadAllText(result.Report), StringComparison.Ordinal);
        using var before = FamilyDetector.Open(TinyRun.Model);
        using var after = FamilyDetector.Open(result.Adapter);
        Assert.Equal(measured[0].Psnr, Psnr(before), 1e-6);
        Assert.Equal(measured[2].Psnr, Psnr(after), 1e-4);   // written in fp32
    }

    [Fact]
    public void Only_the_autoencoder_moves_and_all_of_it()
    {
        var result = Train(With("run"));
        foreach (var part in (string[])["unet", "text_encoder"]) Assert.Equal(TrainFullTests.Weights(TinyRun.Model, part), TrainFullTests.Weights(result.Adapter, part));
        var before = TrainFullTests.Weights(TinyRun.Model, "vae");
        // a constant added to every key does not change attention: its gradient is 0 but for rounding
        Assert.All(TrainFullTests.Weights(result.Adapter, "vae").Where(tensor => !tensor.Key.EndsWith("to_k.bias", StringComparison.Ordinal)), tensor => Assert.NotEqual(before[tensor.Key], tensor.Value));
    }

    [Theory, InlineData(0), InlineData(0.1)]
    public void Where_only_the_decoder_learns_latents_stay_bit_for_bit(double noise)
    {
        var (before, after) = (TrainFullTests.Weights(TinyRun.Model, "vae"), TrainFullTests.Weights(Train(With("run") with { Vae = new AutoencoderOptions { DecoderOnly = true, LatentNoise = noise } }).Adapter, "vae"));
        static bool Behind(string key) => key.StartsWith("decoder.", StringComparison.Ordinal) || key.StartsWith("post_quant_conv.", StringComparison.Ordinal);
        Assert.All(before.Where(tensor => !Behind(tensor.Key)), tensor => Assert.Equal(tensor.Value, after[tensor.Key]));
        Assert.All(after.Where(tensor => Behind(tensor.Key) && !tensor.Key.EndsWith("to_k.bias", StringComparison.Ordinal)), tensor => Assert.NotEqual(before[tensor.Key], tensor.Value));
    }

    /// <summary>Noise of several times the latents' own spread leaves nothing of the picture to decode; a little leaves nearly all.</summary>
    [Fact]
    public void Noise_on_the_latents_is_measured_by_their_spread()
    {
        double First(double noise)
        {
            var loss = double.NaN;
            var options = With($"run-{noise}") with { Model = "icons-64", Data = [new DataSetOptions { Folder = Path.Combine(Repository.Root, "examples", "tango", "pictures") }], Vae = new AutoencoderOptions { DecoderOnly = true, LatentNoise = noise } };
            Train(options with { Training = options.Training with { Steps = 1, BatchSize = 2 } }, listen: item => { if (item is StepFinished step) loss = step.Loss; });
            return loss;
        }
        var (none, little, much) = (First(0), First(0.05), First(5));
        Assert.True(none < little && little < 1.5 * none && much > 4 * none, $"{none} {little} {much}");
    }

    /// <summary>The same weights, written with and without; for a model with the convolutions around the latents, and one without.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public void Standard_latents_have_mean_0_and_deviation_1_and_bring_back_the_same_pictures(bool convolutions)
    {
        var model = convolutions ? TinyRun.Model : WithoutConvolutions();
        var plain = Train(With("plain") with { Model = model }).Adapter;
        var standard = Train(With("standard") with { Model = model, Vae = new AutoencoderOptions { Standardize = true } }).Adapter;
        using var one = FamilyDetector.Open(plain);
        using var other = FamilyDetector.Open(standard);
        Assert.Equal(Psnr(one), Psnr(other), 1e-3);
        using var scope = NewDisposeScope();
        var latents = Pictures().Select(pixels => other.EncodeImages(pixels, null).permute(1, 0, 2, 3).flatten(1)).ToList();
        var all = cat([.. latents], 1).to(ScalarType.Float64);   // (C, every position)
        Assert.Equal(1.0, all.std(unbiased: false).item<double>(), 1e-4);
        Assert.Equal(convolutions, all.mean([1]).abs().max().item<double>() < 1e-4);
        Assert.Equal(convolutions, all.std([1], unbiased: false).Minus(1).abs().max().item<double>() < 1e-4);
        var before = cat([.. Pictures().Select(pixels => one.EncodeImages(pixels, null).permute(1, 0, 2, 3).flatten(1))], 1);
        Assert.True(before.std([1]).Minus(1).abs().min().item<float>() > 0.01, "the latents were standard before");
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_resumed_run_has_the_bytes_of_an_uninterrupted_one(bool decoderOnly)
    {
        TrainFullOptions Options(string name)
        {
            var options = With(name);
            return options with
            {
                Data = [options.Data[0] with { Flip = true, Crop = CropMode.Random }],
                Vae = new AutoencoderOptions { L1 = 1, Edges = 0.5, PermuteChannels = 0.5, Gamma = 0.5, Roll = 3, Standardize = !decoderOnly, DecoderOnly = decoderOnly, LatentNoise = decoderOnly ? 0.1 : 0 },
                Training = options.Training with { Accumulation = 2, EmaDecay = 0.9, SaveEvery = 0 },
                Preview = new PreviewOptions { Captions = 2, Every = 1 },
            };
        }
        var expected = Train(Options("straight"));
        using var stop = new CancellationTokenSource();
        Assert.False(Train(Options("stopped"), listen: made => { if (made is StepFinished { Step: 2 }) stop.Cancel(); }, cancellation: stop.Token).Finished);
        var resumed = Train(Options("stopped"), resume: true);
        Assert.Equal(TrainFullTests.Weights(expected.Adapter, "vae"), TrainFullTests.Weights(resumed.Adapter, "vae"));
        Assert.Equal(File.ReadAllBytes(expected.BeforeAfter!), File.ReadAllBytes(resumed.BeforeAfter!));
    }

    [Fact]
    public void A_plan_counts_the_autoencoder()
    {
        var plan = TrainFull.Plan(With("run") with { Model = "icons-64" });
        Assert.Equal((681_911, 681_911), (plan.Parameters, plan.ModelParameters));
        Assert.Equal(4 * (7_240_004 + 689_920 + 681_911), plan.AdapterBytes);
    }

    [Fact]
    public void A_run_leaves_no_tensor_behind()
    {
        var options = With("run");
        options = options with { Training = options.Training with { EmaDecay = 0.9 }, Preview = new PreviewOptions { Captions = 1 }, Vae = new AutoencoderOptions { L1 = 1, Gamma = 0.5, PermuteChannels = 0.5, Roll = 2, Standardize = true } };
        LeakGuard.AssertNothingLeft(() => Train(options with { Output = run.Path(Guid.NewGuid().ToString("N")) }));
    }

    [Fact]
    public void What_does_nothing_for_an_autoencoder_is_refused()
    {
        var options = With("run");
        Refused("1 problem in the options\n\nfull.parts  unet, vae; vae is trained by itself, and first: a denoiser learns the latents that it makes", options with { Full = new FullOptions { Parts = ["unet", "vae"] } });
        Refused("1 problem in the options\n\nvae  the table does nothing without full.parts = [\"vae\"]", options with { Full = new FullOptions(), Vae = new AutoencoderOptions() });
        Refused(
            """
            10 problems in the options

            loss                                                                the table does nothing with full.parts = ["vae"]; the loss of an autoencoder is in [vae]
            noise                                                               the table does nothing with full.parts = ["vae"]
            inpainting                                                          the table does nothing with full.parts = ["vae"]
            validation.share                                                    0.5; does nothing with full.parts = ["vae"]
            training.precision                                                  bf16; not with full.parts = ["vae"]: autoencoders are always computed in 32 bits
            training.clip_skip                                                  2; does nothing with full.parts = ["vae"]
            training.gradient_checkpointing                                     true; not with full.parts = ["vae"]
            training.cache                                                      disk; does nothing with full.parts = ["vae"]: nothing is encoded ahead
            preview                                                             only every and captions do something with full.parts = ["vae"]; pictures of the data are shown before and behind it
            data[0].prior, data[0].mask, data[0].loss_weight, data[0].held_out  do nothing with full.parts = ["vae"]
            """, options with
            {
                Loss = new LossOptions { MinSnrGamma = 5 },
                Noise = new NoiseOptions { NoiseOffset = 0.1 },
                Inpainting = new InpaintingOptions(),
                Validation = new ValidationOptions { Share = 0.5 },
                Training = options.Training with { Precision = Precision.Bf16, ClipSkip = 2, GradientCheckpointing = true, Cache = CacheKind.Disk },
                Preview = options.Preview with { Prompts = ["a dog"] },
                Data = [options.Data[0] with { LossWeight = 2 }],
            });
        Refused(
            """
            6 problems in the options

            vae.l1                    -1; must be 0 or more
            vae.permute_channels      2; must be 0 to 1
            vae.l1, mse               both 0; nothing would ask for the picture back
            vae.gamma_max             0.1; must be 0.6 (gamma_min) or more
            vae.gamma_min, gamma_max  do nothing with gamma = 0
            vae.roll                  -1; must be 0 (off) or more
            """, options with { Vae = new AutoencoderOptions { L1 = -1, Mse = 0, PermuteChannels = 2, GammaMax = 0.1, Roll = -1 } });
    }

    [Fact]
    public void What_does_not_go_with_a_fixed_encoder_is_refused()
    {
        var options = With("run");
        Refused(
            """
            3 problems in the options

            vae.kl            0.1; does nothing with decoder_only = true: the latents stay as they are
            vae.standardize   true; not with decoder_only = true: the latents stay as they are
            vae.decoder_only  true; needs an encoder that has learned: not with full.init = "random"
            """, options with { Vae = new AutoencoderOptions { DecoderOnly = true, Kl = 0.1, Standardize = true }, Full = options.Full with { Init = WeightStart.Random } });
        Refused("1 problem in the options\n\nvae.latent_noise  0.1; needs decoder_only = true: an encoder that learns would only make its latents larger than the noise", options with { Vae = new AutoencoderOptions { LatentNoise = 0.1 } });
        Refused("1 problem in the options\n\nvae.latent_noise  -1; must be 0 (off) or more", options with { Vae = new AutoencoderOptions { LatentNoise = -1, DecoderOnly = true } });
    }

    private static void Refused(string message, TrainFullOptions options) => Assert.Equal(message, Assert.Throws<OptionsException>(() => Train(options)).Message);

    private TrainFullOptions With(string name) => new()
    {
        Model = TinyRun.Model,
        Output = run.Path(name),
        Seed = 5,
        Data = [new DataSetOptions { Folder = run.Pictures }],
        Full = new FullOptions { Parts = ["vae"] },
        Training = new TrainingOptions { Steps = 4, BatchSize = 2, LearningRate = 0.003, SaveEvery = 2 },
        Preview = new PreviewOptions { Captions = 0 },
        Save = new ModelSaveOptions { Precision = SavePrecision.Fp32 },
    };

    private static TrainingResult Train(TrainFullOptions options, bool resume = false, Action<TrainingEvent>? listen = null, CancellationToken cancellation = default) =>
        TrainFull.Run(options, new Training.Listener(listen), resume, cancellation);

    /// <summary>The tiny model without the convolutions on either side of its latents.</summary>
    private string WithoutConvolutions()
    {
        using var scope = NewDisposeScope();
        var copy = run.Path("bare");
        foreach (var file in Directory.GetFiles(TinyRun.Model, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(copy, Path.GetRelativePath(TinyRun.Model, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
        var config = Path.Combine(copy, "vae", "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("{", "{ \"use_quant_conv\": false, \"use_post_quant_conv\": false,", StringComparison.Ordinal));
        var weights = TrainFullTests.FileOf(copy, "vae");
        Dictionary<string, Tensor> kept;
        using (var reader = SafetensorsReader.Open(weights)) kept = reader.Tensors.Keys.Where(name => !name.Contains("quant_conv", StringComparison.Ordinal)).ToDictionary(name => name, reader.Read);
        SafetensorsWriter.Write(weights, kept);
        return copy;
    }

    /// <summary>The run's pictures as they are measured.</summary>
    private List<Tensor> Pictures() => [.. TrainingData.Read([new DataSetOptions { Folder = run.Pictures }], 64, 0).FixedSamples().Select(sample => BatchLoader.Load(new PlannedBatch([sample], null)).ToTensor())];

    private double Psnr(LowRank.Diffusion.IDiffusionFamily family)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        return Pictures().Average(pixels => 10 * Math.Log10(4 / (family.DecodeLatents(family.EncodeImages(pixels, null)).Within(-1, 1) - pixels).to(ScalarType.Float64).Squared().mean().item<double>()));
    }
}
