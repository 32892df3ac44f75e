using LowRank.Adapters;
using LowRank.Data;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Training of inpainting models: what the denoiser sees, that runs can be resumed, and what is refused.</summary>
public sealed class InpaintingTrainingTests : IDisposable
{
    private readonly TinyRun run = new();

    public InpaintingTrainingTests()
    {
        foreach (var picture in Directory.GetFiles(run.Pictures, "*.png"))
        {
            var size = ImageFile.ReadHeader(File.ReadAllBytes(picture)).Size;
            var mask = Enumerable.Range(0, 3 * (int)size.Pixels).Select(at => (byte)(at / 3 % size.Width < size.Width / 3 && at / 3 / size.Width > 9 ? 255 : 0)).ToArray();   // below on the left
            ImageFile.WritePng(Path.ChangeExtension(picture, ".mask.png"), new RgbImage(size, mask));
        }
    }

    private static string Model => Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1-inpaint");

    private static string Xl => Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sdxl");

    private TrainLoraOptions Options => run.Options with
    {
        Model = Model,
        Inpainting = new InpaintingOptions(),
        Data = [run.Options.Data[0] with { Flip = true }],
        Training = run.Options.Training with { Accumulation = 2 },
    };

    public void Dispose() => run.Dispose();

    /// <summary>By the definition: hole, then latents of the picture with grey in the hole; the picture's own latents untouched; all of them cut and mirrored alike.</summary>
    [Theory]
    [InlineData(HoleSource.Random, CropMode.Centre)]
    [InlineData(HoleSource.Random, CropMode.Random)]
    [InlineData(HoleSource.Masks, CropMode.Centre)]
    [InlineData(HoleSource.Masks, CropMode.Random)]
    public void The_denoiser_sees_the_hole_and_the_picture_without_it(HoleSource source, CropMode crop)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var family = FamilyDetector.Open(Model);
        using var streams = new RandomStreams(3);
        using var same = new RandomStreams(3);
        var options = Options with { Inpainting = new InpaintingOptions { Holes = source }, Data = [Options.Data[0] with { Crop = crop, Mask = MaskSource.Sidecar, Resolution = 48, Buckets = false }] };
        var data = TrainingData.Read(options.Data, 64, heldOutShare: 0, TestContext.Current.CancellationToken);
        var events = new Training.Listener();
        using var cache = new LatentCache(null, events);
        using var encoded = new EncodedData(family, data, cache, ModelIdentity.Of(options), TextUse.Of(options), events) { Holes = HoleMaking.Of(options, streams) };
        encoded.EncodeAhead(TestContext.Current.CancellationToken);
        var next = encoded.Batches(RunOptions.MakeSampler(options, data, streams), () => false);
        var drawn = new RandomHoles(options.Inpainting, new StreamDraws(same["inpainting"]));
        var seen = new HashSet<string>();
        for (var i = 0; i < 6; i++)
        {
            var batch = next();
            var loaded = BatchLoader.Load(batch.Plan, TestContext.Current.CancellationToken);
            var pixels = loaded.ToTensor();
            var hole = source == HoleSource.Masks ? loaded.MasksToTensor()!.round() : cat([.. batch.Names.Select(_ => tensor(drawn.Draw(loaded.Size), [1, 1, 48, 48]).to(ScalarType.Float32).Over(255))]);
            TensorAssert.Close(family.EncodeImages(pixels, null), batch.Latents, 1e-5, 1e-5, "latents");
            TensorAssert.Close(family.EncodeImages(pixels.FilledWhere(hole.IsAbove(0), 0), null), batch.Beside![.., 1..], 1e-5, 1e-5, "latents of the picture without its hole");
            for (var row = 0; row < 6; row++)
            {
                for (var column = 0; column < 6; column++) TensorAssert.Equal(hole[.., 0, 8 * row, 8 * column], batch.Beside[.., 0, row, column]);
            }
            Assert.Equal(source == HoleSource.Random, batch.Masks is not null);   // masks are holes, or weigh the loss
            seen.Add(Convert.ToHexString(batch.Beside[.., ..1].contiguous().bytes));
        }
        Assert.True(seen.Count > 2, "the holes are all alike");
    }

    [Theory]
    [InlineData(HoleSource.Random, CropMode.Centre, CacheKind.Memory, 1)]
    [InlineData(HoleSource.Random, CropMode.Centre, CacheKind.Disk, 3)]
    [InlineData(HoleSource.Random, CropMode.Random, CacheKind.Memory, 2)]
    [InlineData(HoleSource.Masks, CropMode.Centre, CacheKind.Disk, 3)]
    [InlineData(HoleSource.Masks, CropMode.Random, CacheKind.Memory, 2)]
    public void A_resumed_run_has_the_bytes_of_an_uninterrupted_one_and_leaves_no_tensor_behind(HoleSource source, CropMode crop, CacheKind cache, int stopAfter)
    {
        var options = Options with
        {
            Inpainting = new InpaintingOptions { Holes = source },
            Data = [Options.Data[0] with { Crop = crop, Mask = source == HoleSource.Masks ? MaskSource.Sidecar : MaskSource.None }],
            Training = Options.Training with { Cache = cache },
            Preview = new PreviewOptions { Prompts = ["a dog"], Every = 1, Steps = 1 },
        };
        var live = new List<long>();
        TinyRun.Train(options with { Output = run.Path("whole") }, listen: item => { if (item is StepFinished) live.Add(DisposeScopeManager.Statistics.ThreadTotalLiveCount); });
        using var stop = new CancellationTokenSource();
        Assert.False(TinyRun.Train(options, listen: made => { if (made is StepFinished step && step.Step == stopAfter) stop.Cancel(); }, cancellation: stop.Token).Finished);
        Assert.True(TinyRun.Train(options, resume: true).Finished);
        foreach (var name in (string[])["adapter.safetensors", "before-after.png"]) Assert.Equal(File.ReadAllBytes(run.Path("whole", name)), File.ReadAllBytes(run.Path("run", name)));
        Assert.Single(live.Skip(1).Distinct());
        LeakGuard.AssertNothingLeft(() => TinyRun.Train(options with { Output = run.Path(Guid.NewGuid().ToString("N")) }));
    }

    [Fact]
    public void The_hole_is_part_of_what_is_learned_from()
    {
        string Trained(string name, InpaintingOptions inpainting) => TinyRun.Tensors(TinyRun.Train(Options with { Output = run.Path(name), Inpainting = inpainting }).Adapter).First(tensor => tensor.Key.EndsWith("up.weight", StringComparison.Ordinal)).Value;
        Assert.NotEqual(Trained("all", new InpaintingOptions { FullHoles = 1 }), Trained("none", new InpaintingOptions { FullHoles = 0 }));
    }

    /// <summary>Other holes must not move noise, timesteps, order or captions: the losses of the first step differ by the hole alone.</summary>
    [Fact]
    public void Holes_draw_from_a_stream_of_their_own()
    {
        List<string> Drawn(InpaintingOptions inpainting)
        {
            using var family = FamilyDetector.Open(Model);
            using var streams = new RandomStreams(3);
            var options = Options with { Inpainting = inpainting };
            var data = TrainingData.Read(options.Data, 64, heldOutShare: 0, TestContext.Current.CancellationToken);
            var events = new Training.Listener();
            using var cache = new LatentCache(null, events);
            using var encoded = new EncodedData(family, data, cache, ModelIdentity.Of(options), TextUse.Of(options), events) { Holes = HoleMaking.Of(options, streams) };
            encoded.EncodeAhead(TestContext.Current.CancellationToken);
            var next = encoded.Batches(RunOptions.MakeSampler(options, data, streams), () => false);
            using var scope = NewDisposeScope();
            return [.. Enumerable.Range(0, 4).Select(_ => Convert.ToHexString(next().Latents.bytes))];
        }
        Assert.Equal(Drawn(new InpaintingOptions()), Drawn(new InpaintingOptions { MinShapes = 4, FullHoles = 0 }));
    }

    [Fact]
    public void Masks_that_are_holes_are_encoded_once_and_the_next_run_finds_them()
    {
        var encoded = new List<PictureEncoded>();
        var options = Options with
        {
            Inpainting = new InpaintingOptions { Holes = HoleSource.Masks },
            Data = [Options.Data[0] with { Mask = MaskSource.Sidecar }],
            Training = Options.Training with { Cache = CacheKind.Disk, CacheFolder = run.Path("cache") },
        };
        void Train(string name) => TinyRun.Train(options with { Output = run.Path(name) }, listen: item => { if (item is PictureEncoded picture) encoded.Add(picture); });
        Train("first");
        Assert.Equal(6, encoded.Count);   // three pictures, each also mirrored
        Train("second");
        Assert.Equal(6, encoded.Count);
        // the same pictures without holes are other entries
        TinyRun.Train(options with { Output = run.Path("third"), Inpainting = new InpaintingOptions(), Data = Options.Data }, listen: item => { if (item is PictureEncoded picture) encoded.Add(picture); });
        Assert.Equal(12, encoded.Count);
    }

    [Fact]
    public void A_picture_of_a_folder_without_masks_is_all_hole()
    {
        using var scope = NewDisposeScope();
        using var family = FamilyDetector.Open(Model);
        using var streams = new RandomStreams(3);
        var options = Options with { Inpainting = new InpaintingOptions { Holes = HoleSource.Masks }, Data = [Options.Data[0] with { Mask = MaskSource.Sidecar }, Options.Data[0] with { Caption = "without" }] };
        var data = TrainingData.Read(options.Data, 64, heldOutShare: 0, TestContext.Current.CancellationToken);
        var events = new Training.Listener();
        using var cache = new LatentCache(null, events);
        using var encoded = new EncodedData(family, data, cache, ModelIdentity.Of(options), TextUse.Of(options), events) { Holes = HoleMaking.Of(options, streams) };
        encoded.EncodeAhead(TestContext.Current.CancellationToken);
        var next = encoded.Batches(RunOptions.MakeSampler(options, data, streams), () => false);
        for (var i = 0; i < 4; i++)
        {
            var batch = next();
            for (var item = 0; item < batch.Plan.Samples.Count; item++)
            {
                var all = batch.Plan.Samples[item].Image.Mask is null;
                Assert.Equal(all, batch.Beside![item, 0].IsEqualTo(1).all().item<bool>());
                Assert.Equal(all, batch.Beside[item, 1..].equal(family.EncodeImages(zeros(1, 3, batch.Latents.size(2) * 8, batch.Latents.size(3) * 8), null)).all().item<bool>());
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Previews_repaint_the_middle_of_training_pictures_or_their_masks(bool masks)
    {
        using var family = FamilyDetector.Open(Model);
        var options = Options with { Inpainting = new InpaintingOptions { Holes = masks ? HoleSource.Masks : HoleSource.Random }, Data = [Options.Data[0] with { Mask = masks ? MaskSource.Sidecar : MaskSource.None }] };
        var data = TrainingData.Read(options.Data, 64, heldOutShare: 0, TestContext.Current.CancellationToken);
        var holes = PreviewHoles.Of(options, family, data, ["a cat, in the city, photo", "something else"])!;
        var cat = ImageFile.Read(run.Path("pictures", "b.png")).Pixels;
        var shown = holes.Shown[0].Pixels;
        for (var at = 0; at < 64 * 64; at++)
        {
            var (row, column) = (at / 64, at % 64);
            var hole = masks ? column < 21 && row > 9 : row is >= 16 and < 48 && column is >= 16 and < 48;
            for (var band = 0; band < 3; band++) Assert.Equal(hole ? 128 : cat[3 * at + band], shown[3 * at + band]);
        }
        Assert.Equal(ImageFile.Read(run.Path("pictures", "b.png")).Pixels[..3], holes.Shown[1].Pixels[..3]);   // no picture has that caption: the one of its place
        Assert.Null(PreviewHoles.Of(run.Options, FamilyDetector.Open(TinyRun.Model), data, ["x"]));
    }

    [Fact]
    public void A_sheet_shows_what_was_given_above_before_and_after()
    {
        var sheet = ImageFile.Read(TinyRun.Train(Options with { Preview = new PreviewOptions { Captions = 1, Steps = 1 } }).BeforeAfter!);
        Assert.True(sheet.Size.Height >= 3 * 128, $"{sheet.Size}");
        sheet = ImageFile.Read(TinyRun.Train(run.Options with { Output = run.Path("plain"), Preview = new PreviewOptions { Captions = 1, Steps = 1 } }).BeforeAfter!);
        Assert.True(sheet.Size.Height < 3 * 128, $"{sheet.Size}");
    }

    /// <summary>The parts that stand around the denoiser do not know of it: text encoders learn, words are learned, and all of it is resumed.</summary>
    [Fact]
    public void Text_encoders_and_words_are_trained_with_holes_too()
    {
        var text = Options with { TextEncoder = new TextEncoderOptions { LearningRate = 0.01 } };
        Assert.Contains(TinyRun.Tensors(TinyRun.Train(text).Adapter), tensor => tensor.Key.StartsWith("lora_te_", StringComparison.Ordinal));
        var pivotal = new TrainPivotalOptions
        {
            Model = Model,
            Output = run.Path("pivotal"),
            Data = [Options.Data[0] with { Suffix = "<s1>" }],
            Inpainting = new InpaintingOptions(),
            Tokens = [new LearnedTokenOptions { Token = "<s1>" }],
            Inversion = new InversionOptions { Steps = 2, LearningRate = 0.01 },
            Adapter = new AdapterOptions { Rank = 2 },
            Training = run.Options.Training with { Steps = 2 },
            Preview = run.Options.Preview,
        };
        var whole = TrainPivotal.Run(pivotal with { Output = run.Path("whole") }, cancellation: TestContext.Current.CancellationToken);
        foreach (var stopAfter in (int[])[1, 3])
        {
            using var stop = new CancellationTokenSource();
            var options = pivotal with { Output = run.Path($"stopped-{stopAfter}") };
            var listener = new Training.Listener(made => { if (made is StepFinished step && step.Step == stopAfter) stop.Cancel(); });
            Assert.False(TrainPivotal.Run(options, listener, cancellation: stop.Token).Finished);
            Assert.Equal(File.ReadAllBytes(whole.Adapter), File.ReadAllBytes(TrainPivotal.Run(options, resume: true, cancellation: TestContext.Current.CancellationToken).Adapter));
        }
        var inversion = new TrainTextualInversionOptions { Model = Model, Output = run.Path("inversion"), Data = pivotal.Data, Inpainting = pivotal.Inpainting, Tokens = pivotal.Tokens, Training = pivotal.Training, Preview = pivotal.Preview };
        Assert.True(TrainTextualInversion.Run(inversion, cancellation: TestContext.Current.CancellationToken).Finished);
    }

    [Theory]
    [InlineData("sd1")]
    [InlineData("sdxl")]
    public void A_widened_model_learns_to_see_holes_and_is_the_base_of_adapters(string name)
    {
        var options = new TrainFullOptions
        {
            Model = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", name),
            Output = run.Path("model-run"),
            Data = Options.Data,
            Inpainting = new InpaintingOptions { Widen = true, FullHoles = 0 },
            Training = run.Options.Training with { LearningRate = 0.003, EmaDecay = 0.5 },
            Preview = new PreviewOptions { Prompts = ["a dog"], Steps = 1 },
            Save = new ModelSaveOptions { Precision = SavePrecision.Fp32 },
        };
        var whole = TrainFull.Run(options with { Output = run.Path("whole") }, cancellation: TestContext.Current.CancellationToken);
        using var stop = new CancellationTokenSource();
        var listener = new Training.Listener(made => { if (made is StepFinished { Step: 2 }) stop.Cancel(); });
        Assert.False(TrainFull.Run(options, listener, cancellation: stop.Token).Finished);
        var model = TrainFull.Run(options, resume: true, cancellation: TestContext.Current.CancellationToken).Adapter;
        var weights = TinyRun.Tensors(Path.Combine(model, "unet", "diffusion_pytorch_model.safetensors"));
        Assert.Equal(TinyRun.Tensors(Path.Combine(whole.Adapter, "unet", "diffusion_pytorch_model.safetensors")), weights);
        using (var family = FamilyDetector.Open(model))
        using (var scope = NewDisposeScope())
        {
            var added = family.Component("unet").get_parameter("conv_in.weight")![.., 4..];
            Assert.True(added.IsNotEqualTo(0).all().item<bool>(), "some of the added weights have not learned");
        }
        var adapter = TinyRun.Train(Options with { Model = model, Output = run.Path("adapter") });
        Assert.True(adapter.Finished);
        Assert.Equal([Path.Combine(run.Path("painted"), "00000.png")], Generate.Run(new GenerateOptions
        {
            Model = model,
            Adapters = [new AdapterUse(adapter.Adapter)],
            Prompt = "a dog",
            Output = run.Path("painted"),
            Steps = 1,
            Image = run.Path("pictures", "a.png"),
            Mask = run.Path("pictures", "a.mask.png"),
            NoiseStrength = 1,
        }).Pictures);
        LeakGuard.AssertNothingLeft(() => TrainFull.Run(options with { Output = run.Path(Guid.NewGuid().ToString("N")) }, cancellation: TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Only_what_is_written_and_learns_is_widened()
    {
        Refused("""
            1 problem in the options

            inpainting.widen  true; does nothing here: only method = "full" writes the model that comes of it
            """, Options with { Inpainting = new InpaintingOptions { Widen = true } });
        var full = new TrainFullOptions { Model = TinyRun.Model, Output = run.Output, Data = Options.Data, Inpainting = new InpaintingOptions { Widen = true }, Full = new FullOptions { Parts = ["text_encoder"] } };
        Assert.Equal("""
            1 problem in the options

            full.parts  without unet nothing would learn to see the holes of inpainting.widen
            """.ReplaceLineEndings("\n"), Assert.Throws<OptionsException>(() => TrainFull.Plan(full)).Message);
    }

    [Fact]
    public void A_recipe_that_does_not_go_with_its_model_is_refused()
    {
        Refused($"""
            1 problem in the recipe for the model {TinyRun.Model}

            inpainting  Stable Diffusion 1 has 4 input channels and sees no holes: leave the [inpainting] table out, take an inpainting model, which has 9, or make one: method = "full" with widen = true
            """, Options with { Model = TinyRun.Model });
        Refused($"""
            1 problem in the recipe for the model {Xl}

            inpainting  Stable Diffusion XL has 4 input channels and sees no holes: leave the [inpainting] table out, take an inpainting model, which has 9, or make one: method = "full" with widen = true
            """, Options with { Model = Xl });
        Refused($"""
            1 problem in the recipe for the model {Model}

            inpainting  not set; Stable Diffusion 1 inpainting has 9 input channels, for pictures with holes: add an [inpainting] table, or take the model it was made from
            """, Options with { Inpainting = null });
    }

    [Fact]
    public void Options_that_cannot_be_are_all_listed()
    {
        Refused("""
            6 problems in the options

            inpainting.full_holes  1.5; must be from 0 to 1
            inpainting.min_shapes  0; must be 1 or more
            inpainting.max_shapes  -1; is below min_shapes: 0
            inpainting.min_size    -0.1; must be from 0 to 1
            inpainting.max_size    2; must be from 0 to 1
            inpainting.ellipses    NaN; must be from 0 to 1
            """, Options with { Inpainting = new InpaintingOptions { FullHoles = 1.5, MinShapes = 0, MaxShapes = -1, MinSize = -0.1, MaxSize = 2, Ellipses = double.NaN } });
        Refused("""
            1 problem in the options

            inpainting.max_size  0.2; is below min_size: 0.3
            """, Options with { Inpainting = new InpaintingOptions { MinSize = 0.3, MaxSize = 0.2 } });
        Refused("""
            3 problems in the options

            inpainting.full_holes, min_shapes, max_shapes, min_size, max_size, ellipses   do nothing with holes = "masks"
            inpainting.holes                                                              masks; there are none: set mask = "alpha", "sidecar" or "folder" in a [[data]] table
            loss.unmasked_weight, loss.normalize_masked_area_loss, loss.mask_temperature  do nothing with inpainting.holes = "masks": masks are holes then
            """, Options with { Inpainting = new InpaintingOptions { Holes = HoleSource.Masks, FullHoles = 0 }, Loss = new LossOptions { UnmaskedWeight = 0.5 } });
    }

    [Fact]
    public void The_trained_adapter_changes_what_is_painted_in_a_hole()
    {
        var adapter = TinyRun.Train(Options with { Adapter = Options.Adapter with { Targets = ["all"] } }).Adapter;
        var generate = new GenerateOptions
        {
            Model = Model,
            Prompt = "a dog",
            Output = run.Path("pictures-out"),
            Steps = 2,
            Image = run.Path("pictures", "a.png"),
            Mask = run.Path("pictures", "a.mask.png"),
            NoiseStrength = 1,
        };
        RgbImage Picture(params AdapterUse[] uses) => ImageFile.Read(Generate.Run(generate with { Adapters = uses }).Pictures[0]);
        var plain = Picture();
        Assert.Equal(plain.Pixels, Picture(new AdapterUse(adapter) { Strength = 0 }).Pixels);
        Assert.NotEqual(plain.Pixels, Picture(new AdapterUse(adapter)).Pixels);
        var problem = Assert.Throws<OptionsException>(() => Generate.Run(generate with { Image = null, Mask = null }));
        Assert.Equal("Stable Diffusion 1 inpainting paints in pictures; give a picture and a mask", problem.Message);
    }

    private static void Refused(string message, TrainLoraOptions options) => Assert.Equal(message.ReplaceLineEndings("\n"), Assert.Throws<OptionsException>(() => TinyRun.Train(options)).Message);
}
