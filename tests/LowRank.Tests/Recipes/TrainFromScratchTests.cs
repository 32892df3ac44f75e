using LowRank.Data;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Text;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>A model that is made from nothing but configurations and pictures with captions: tokenizer, autoencoder, then denoiser and text encoder.</summary>
public sealed class TrainFromScratchTests : IDisposable
{
    private readonly TinyRun run = new();

    public void Dispose() => run.Dispose();

    [Fact]
    public void A_model_is_made_from_configurations_in_two_runs_and_draws()
    {
        var first = Train(With("first", Configurations(), "vae"));
        Assert.Equal(["config.json"], Directory.GetFiles(Path.Combine(first, "unet")).Select(Path.GetFileName));
        Assert.Equal(["merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json"], Directory.GetFiles(Path.Combine(first, "tokenizer")).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(3, TokenizerFolder.Open(Path.Combine(first, "tokenizer")).Encode("the").Length);   // met twice: one token
        var second = Train(With("second", first, "unet", "text_encoder"));
        Assert.Equal(TrainFullTests.Weights(first, "vae"), TrainFullTests.Weights(second, "vae"));
        Assert.Equal(File.ReadAllBytes(Path.Combine(first, "tokenizer", "merges.txt")), File.ReadAllBytes(Path.Combine(second, "tokenizer", "merges.txt")));
        var picture = Assert.Single(Generate.Run(new GenerateOptions { Model = second, Prompt = "a dog", Output = run.Path("pictures"), Steps = 2 }).Pictures);
        Assert.True(File.Exists(picture));
    }

    [Fact]
    public void The_seed_decides_the_weights_that_parts_begin_with_and_the_models_own_do_not_matter()
    {
        TrainFullOptions Standing(string name, string model, long seed)
        {
            var options = With(name, model, "unet", "text_encoder");
            return options with { Seed = seed, Training = options.Training with { LearningRate = 1e-30, WeightDecay = 0 } };
        }
        var (one, same, other) = (Train(Standing("one", TinyRun.Model, 5)), Train(Standing("same", Trained(), 5)), Train(Standing("other", TinyRun.Model, 6)));
        foreach (var part in (string[])["unet", "text_encoder"])
        {
            Assert.Equal(TrainFullTests.Weights(one, part), TrainFullTests.Weights(same, part));
            Assert.NotEqual(TrainFullTests.Weights(one, part), TrainFullTests.Weights(other, part));
            Assert.NotEqual(TrainFullTests.Weights(one, part), TrainFullTests.Weights(TinyRun.Model, part));
        }
        Assert.Equal(TrainFullTests.Weights(one, "vae"), TrainFullTests.Weights(TinyRun.Model, "vae"));

        string Trained() => Train(With("trained", TinyRun.Model, "unet", "text_encoder"));
    }

    [Theory, InlineData("vae"), InlineData("unet", "text_encoder")]
    public void A_resumed_run_has_the_bytes_of_an_uninterrupted_one(params string[] parts)
    {
        var model = parts is ["vae"] ? Configurations() : Train(With("first", Configurations(), "vae"));
        var expected = Train(With("straight", model, parts));
        using var stop = new CancellationTokenSource();
        Assert.False(TrainFull.Run(With("stopped", model, parts), new Training.Listener(made => { if (made is StepFinished { Step: 2 }) stop.Cancel(); }), cancellation: stop.Token).Finished);
        var resumed = TrainFull.Run(With("stopped", model, parts), resume: true, cancellation: TestContext.Current.CancellationToken).Adapter;
        foreach (var part in parts) Assert.Equal(TrainFullTests.Weights(expected, part), TrainFullTests.Weights(resumed, part));
    }

    /// <summary>Weights of 16 bits all the way: what is trained is what bfloat16 holds, and a state holds no more.</summary>
    [Fact]
    public void A_model_can_begin_in_sixteen_bits()
    {
        var options = With("run", TinyRun.Model, "unet");
        Train(options with { Training = options.Training with { Precision = Precision.Bf16 } });
        using var state = SafetensorsReader.Open(run.Path("run", "state", "step-000004", "tensors.safetensors"));
        Assert.Equal("BF16", state.Tensors["parameters"].Type.ToString().ToUpperInvariant());
    }

    [Fact]
    public void A_plan_counts_parts_that_have_no_weights_yet()
    {
        var plan = TrainFull.Plan(With("run", Configurations(), "vae"));
        Assert.Equal(TrainFull.Plan(With("run", TinyRun.Model, "vae")).AdapterBytes, plan.AdapterBytes);
        Assert.False(Directory.Exists(run.Path("run")));
    }

    [Fact]
    public void What_is_missing_is_said()
    {
        var model = Configurations();
        Refused($"the folder holds no weights: it has config.json; in {Path.Combine(model, "text_encoder")}; expected diffusion_pytorch_model.safetensors, model.safetensors or pytorch_model.bin", With("run", model, "unet"));
        Refused($"the folder holds no weights: it has config.json; in {Path.Combine(model, "unet")}; expected diffusion_pytorch_model.safetensors, model.safetensors or pytorch_model.bin", With("run", model, "vae") with { Full = new FullOptions { Parts = ["vae"] } });
        var config = Path.Combine(model, "text_encoder", "config.json");
        var text = File.ReadAllText(config);
        File.WriteAllText(config, text.Replace("\"eos_token_id\": 2,", "\"eos_token_id\": 639,", StringComparison.Ordinal));
        Refused($"eos_token_id is 639, but the tokenizer that is built from the captions ends prompts with id 516; in {config}; set vocab_size to 517, bos_token_id to 515, eos_token_id and pad_token_id to 516", With("run", model, "vae"));
        File.WriteAllText(config, text.Replace("\"vocab_size\": 640", "\"vocab_size\": 100", StringComparison.Ordinal));
        Refused($"vocab_size is 100, and a tokenizer has 514 ids before its first merge; in {config}; set vocab_size to 514 or more", With("run", model, "vae"));
        File.Delete(config);
        Refused($"the part has no config.json; in {Path.Combine(model, "text_encoder")}; copy the whole model again", With("run", model, "vae"));
        Refused("2 problems in the options\n\nfull.words     do nothing without init = \"random\"\nfull.words[1]  \"two words\"; must be one word", With("run", model, "vae") with { Full = new FullOptions { Words = ["one", "two words"] } });
        Refused("1 problem in the options\n\nprior  the model draws them before it learns, and with full.init = \"random\" it can draw nothing yet: leave the table out, or take init = \"base\"",
            With("run", TinyRun.Model, "unet") with { Prior = new PriorOptions { Prompt = "a dog", Folder = run.Path("prior") } });
        Assert.False(Directory.Exists(run.Path("run")));
    }

    private static void Refused(string message, TrainFullOptions options) => Assert.Equal(message, Assert.ThrowsAny<LowRankException>(() => TrainFull.Run(options)).Message);

    private static string Train(TrainFullOptions options) => TrainFull.Run(options, cancellation: TestContext.Current.CancellationToken).Adapter;

    private TrainFullOptions With(string name, string model, params string[] parts) => new()
    {
        Model = model,
        Output = run.Path(name),
        Seed = 5,
        Data = [new DataSetOptions { Folder = run.Pictures }],
        Full = new FullOptions { Parts = parts, Init = WeightStart.Random },
        Training = new TrainingOptions { Steps = 4, BatchSize = 2, LearningRate = 0.003, SaveEvery = 0 },
        Preview = new PreviewOptions { Captions = 0 },
        Save = new ModelSaveOptions { Precision = SavePrecision.Fp32 },
    };

    /// <summary>The tiny model without weights and tokenizer.</summary>
    private string Configurations()
    {
        var copy = run.Path(Guid.NewGuid().ToString("N"));
        foreach (var file in Directory.GetFiles(TinyRun.Model, "*.json", SearchOption.AllDirectories).Where(file => !file.Contains("tokenizer", StringComparison.Ordinal)))
        {
            var target = Path.Combine(copy, Path.GetRelativePath(TinyRun.Model, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
        return copy;
    }
}
