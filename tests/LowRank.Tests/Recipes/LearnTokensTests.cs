using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Textual inversion and pivotal tuning as whole runs on a tiny model.</summary>
public sealed class LearnTokensTests : IDisposable
{
    private readonly TinyRun run = new();

    private TrainTextualInversionOptions Inversion => new()
    {
        Model = TinyRun.Model,
        Output = run.Output,
        Seed = 5,
        Data = [run.Options.Data[0] with { Suffix = "<s1>" }],
        Tokens = [new LearnedTokenOptions { Token = "<s1>", Vectors = 2 }],
        Training = run.Options.Training with { Accumulation = 2, MaxGradientNorm = 0.01 },
        Preview = run.Options.Preview,
    };

    private TrainPivotalOptions Pivotal => new()
    {
        Model = TinyRun.Model,
        Output = run.Output,
        Seed = 5,
        Data = Inversion.Data,
        Tokens = Inversion.Tokens,
        TokenNorm = 0.4,
        Inversion = new InversionOptions { Steps = 3, LearningRate = 0.01 },
        Adapter = run.Options.Adapter with { Dropout = 0.2 },
        Training = Inversion.Training,
        Preview = run.Options.Preview,
    };

    public void Dispose() => run.Dispose();

    [Fact]
    public void An_inversion_leaves_its_words_and_nothing_else()
    {
        var result = TrainTextualInversion.Run(Inversion, cancellation: TestContext.Current.CancellationToken);
        Assert.True(result.Finished);
        Assert.Equal("bundle_emb.<s1>.string_to_param.*", Assert.Single(TinyRun.Tensors(result.Adapter)).Key);
        var alone = Assert.Single(result.Embeddings);
        Assert.Equal(Path.Combine(run.Output, "embeddings", "s1.safetensors"), alone);
        Assert.Equal(TinyRun.Tensors(result.Adapter).Values, TinyRun.Tensors(alone).Values);
        Assert.Equal(["<s1> [2,24]"], InspectAdapter.Run(alone).Embeddings);
        Assert.Equal("<s1>", InspectAdapter.Run(alone).Metadata["lowrank.token"]);
    }

    [Fact]
    public void Steps_change_the_vectors_and_no_number_of_the_model()
    {
        using var family = FamilyDetector.Open(TinyRun.Model);
        using var scope = NewDisposeScope();
        Dictionary<string, string> Weights() => family.ComponentNames.SelectMany(name => family.Component(name).state_dict().Select(item => ($"{name}.{item.Key}", item.Value))).ToDictionary(item => item.Item1, item => Convert.ToHexString(item.Value.bytes));
        var before = Weights();
        using var generator = new Generator(3);
        using var tokens = new EmbeddingSet(TokenTraining.Starts(Inversion.Tokens, family, generator), CPU);
        family.Place(tokens);
        using var start = tokens.FlatParameters.clone();
        using var optimizer = Inversion.Training.MakeOptimizer(TrainedParameters.Of(tokens, new ParameterGroup(0.01, 0.1)));
        for (var step = 0; step < 3; step++)
        {
            family.EncodePrompts(["a <s1> dog"]).Hidden.Squared().mean().backward();
            optimizer.Step(1);
            optimizer.Parameters.ClearGradients();
        }
        Assert.True(tokens.FlatParameters.ne(start).all().item<bool>());
        Assert.Equal(before, Weights());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void A_stopped_inversion_goes_on_to_the_same_bytes(int stopAfter)
    {
        var whole = TrainTextualInversion.Run(Inversion with { Output = run.Path("whole") }, cancellation: TestContext.Current.CancellationToken);
        using var stop = new CancellationTokenSource();
        var first = TrainTextualInversion.Run(Inversion, StopAt(stopAfter, stop), cancellation: stop.Token);
        Assert.Equal((false, (long)stopAfter), (first.Finished, first.Steps));
        Assert.Equal(File.ReadAllBytes(whole.Adapter), File.ReadAllBytes(TrainTextualInversion.Run(Inversion, resume: true, cancellation: TestContext.Current.CancellationToken).Adapter));
    }

    /// <summary>In the first phase, between both, in the second; with words that stay, that go on learning, and that are learned with the adapter from the first step.</summary>
    [Theory]
    [InlineData(3, 0, 2)]
    [InlineData(3, 0, 3)]
    [InlineData(3, 0, 5)]
    [InlineData(3, 0.01, 4)]
    [InlineData(0, 0.01, 2)]
    public void A_stopped_pivotal_tuning_goes_on_to_the_same_bytes_in_every_phase(int inversion, double tuningRate, int stopAfter)
    {
        var usual = new InversionOptions();
        var options = Pivotal with { Inversion = inversion == 0 ? usual with { Steps = 0, TuningLearningRate = tuningRate } : Pivotal.Inversion with { TuningLearningRate = tuningRate } };
        options = options with { Data = [options.Data[0] with { Crop = LowRank.Data.CropMode.Random, Buckets = false, CaptionDropout = 0.3, Resolution = 56 }] };
        var whole = TrainPivotal.Run(options with { Output = run.Path("whole") }, cancellation: TestContext.Current.CancellationToken);
        using var stop = new CancellationTokenSource();
        var first = TrainPivotal.Run(options, StopAt(stopAfter, stop), cancellation: stop.Token);
        Assert.Equal((false, (long)stopAfter), (first.Finished, first.Steps));
        var resumed = TrainPivotal.Run(options, resume: true, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(inversion + 4, resumed.Steps);
        Assert.Equal(File.ReadAllBytes(whole.Adapter), File.ReadAllBytes(resumed.Adapter));
    }

    /// <summary>As the package of 2022 did it: the second phase trains an adapter on the text encoder too, with the learned words in the prompts.</summary>
    [Theory]
    [InlineData(2, 0)]
    [InlineData(3, 0)]
    [InlineData(5, 0)]
    [InlineData(6, 0.01)]
    public void With_a_text_encoder_an_average_and_checkpointing_it_goes_on_to_the_same_bytes_too(int stopAfter, double tuningRate)
    {
        var options = Pivotal with
        {
            TokenNorm = 0,
            Inversion = Pivotal.Inversion with { TuningLearningRate = tuningRate },
            TextEncoder = new TextEncoderOptions { Rank = 2, LearningRate = 0.01, StopStep = 2 },
            Training = Pivotal.Training with { EmaDecay = 0.9, GradientCheckpointing = true },
        };
        var whole = TrainPivotal.Run(options with { Output = run.Path("whole") }, cancellation: TestContext.Current.CancellationToken);
        using var stop = new CancellationTokenSource();
        Assert.Equal(stopAfter, TrainPivotal.Run(options, StopAt(stopAfter, stop), cancellation: stop.Token).Steps);
        var resumed = TrainPivotal.Run(options, resume: true, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(File.ReadAllBytes(whole.Adapter), File.ReadAllBytes(resumed.Adapter));
        Assert.Contains(TinyRun.Tensors(whole.Adapter).Keys, name => name.StartsWith("lora_te_", StringComparison.Ordinal));
        Assert.Empty(InspectAdapter.Run(whole.Adapter).Trouble);
    }

    [Fact]
    public void The_text_encoders_adapter_learns_in_the_second_phase_until_its_last_step_and_nothing_of_it_in_the_first()
    {
        var options = Pivotal with { TokenNorm = 0, TextEncoder = new TextEncoderOptions { Rank = 2, LearningRate = 0.01, StopStep = 2 }, Training = Pivotal.Training with { SaveEvery = 1 }, Save = new SaveOptions { Precision = SavePrecision.Fp32 } };
        TrainPivotal.Run(options with { Training = options.Training with { Keep = 10 } }, cancellation: TestContext.Current.CancellationToken);
        string Text(int step) => string.Join('\n', TinyRun.Tensors(Path.Combine(run.Output, $"adapter-{step:D6}.safetensors")).Where(tensor => tensor.Key.StartsWith("lora_te_", StringComparison.Ordinal)).Select(tensor => tensor.Value));
        Assert.Equal(Text(1), Text(3));
        Assert.NotEqual(Text(3), Text(4));
        Assert.NotEqual(Text(4), Text(5));
        Assert.Equal(Text(5), Text(7));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Gradient_checkpointing_changes_nothing_of_what_words_learn(bool pivotal)
    {
        string Learned(bool recomputes)
        {
            var output = run.Path($"run-{recomputes}");
            var training = Pivotal.Training with { GradientCheckpointing = recomputes };
            var result = pivotal
                ? TrainPivotal.Run(Pivotal with { Output = output, Training = training, TextEncoder = new TextEncoderOptions { Rank = 2 }, Inversion = Pivotal.Inversion with { TuningLearningRate = 0.01 } }, cancellation: TestContext.Current.CancellationToken)
                : TrainTextualInversion.Run(Inversion with { Output = output, Training = training }, cancellation: TestContext.Current.CancellationToken);
            return string.Join('\n', TinyRun.Tensors(result.Adapter));
        }
        Assert.Equal(Learned(false), Learned(true));
    }

    /// <summary>Decay 0 of the average is the values themselves, near 1 they hardly leave the start.</summary>
    [Theory]
    [InlineData(OptimizerKind.Adamw, 0.9)]
    [InlineData(OptimizerKind.AdamwScheduleFree, 0)]
    public void An_averaged_inversion_writes_the_average_and_goes_on_to_the_same_bytes(OptimizerKind kind, double decay)
    {
        var options = Inversion with { Training = Inversion.Training with { Optimizer = kind, EmaDecay = decay, Schedule = LearningRateShape.Constant, WarmupSteps = 0 } };
        var whole = TrainTextualInversion.Run(options with { Output = run.Path("whole") }, cancellation: TestContext.Current.CancellationToken);
        using var stop = new CancellationTokenSource();
        Assert.Equal(3, TrainTextualInversion.Run(options, StopAt(3, stop), cancellation: stop.Token).Steps);
        var resumed = TrainTextualInversion.Run(options, resume: true, cancellation: TestContext.Current.CancellationToken);
        Assert.Equal(File.ReadAllBytes(whole.Adapter), File.ReadAllBytes(resumed.Adapter));
        Assert.Equal(TinyRun.Tensors(whole.Adapter).Values, TinyRun.Tensors(Assert.Single(whole.Embeddings)).Values);
        using var trained = Parameters(run.Path("whole", "state"));
        using var written = Assert.Single(Embedding.Read(whole.Adapter));
        Assert.False(written.Vectors["text_encoder"].flatten().allclose(trained, 1e-6, 1e-7));
    }

    [Fact]
    public void What_cannot_be_averaged_is_refused()
    {
        void Refused(string problem, Func<object> plan) => Assert.Equal("1 problem in the options\n\n" + problem, Assert.Throws<OptionsException>(plan).Message);
        Refused("training.optimizer  adamw-schedule-free; not for method = \"pivotal\", whose second phase begins with the words as the first one left them: take adamw",
            () => TrainPivotal.Plan(Pivotal with { Training = Pivotal.Training with { Optimizer = OptimizerKind.AdamwScheduleFree, Schedule = LearningRateShape.Constant } }));
        Refused("training.optimizer  adamw-schedule-free; not with token_norm, which moves the values that it averages: take adamw",
            () => TrainTextualInversion.Plan(Inversion with { TokenNorm = 0.4, Training = Inversion.Training with { Optimizer = OptimizerKind.AdamwScheduleFree, Schedule = LearningRateShape.Constant } }));
        Refused("training.ema_decay  0.9; not with token_norm: the average would hold vectors from before that rule",
            () => TrainPivotal.Plan(Pivotal with { Training = Pivotal.Training with { EmaDecay = 0.9 } }));
    }

    [Fact]
    public void A_pivotal_tuning_leaves_adapter_and_words_together_and_each_alone()
    {
        var result = TrainPivotal.Run(Pivotal, cancellation: TestContext.Current.CancellationToken);
        var all = TinyRun.Tensors(result.Adapter);
        var alone = TinyRun.Tensors(Path.Combine(run.Output, "lora.safetensors"));
        Assert.Equal(["bundle_emb.<s1>.string_to_param.*"], all.Keys.Except(alone.Keys));
        Assert.All(alone, item => Assert.Equal(item.Value, all[item.Key]));
        using var embedding = Assert.Single(Embedding.Read(Assert.Single(result.Embeddings)));
        using var bundled = Assert.Single(Embedding.Read(result.Adapter));
        using var half = embedding.Vectors["text_encoder"].to(ScalarType.Float16).to(ScalarType.Float32);
        Assert.True(half.eq(bundled.Vectors["text_encoder"]).all().item<bool>());
        Assert.Empty(InspectAdapter.Run(result.Adapter).Trouble);
    }

    [Fact]
    public void Words_that_do_not_go_on_learning_are_those_of_the_first_phase()
    {
        var result = TrainPivotal.Run(Pivotal with { Save = new SaveOptions { Precision = SavePrecision.Fp32 }, Training = Pivotal.Training with { SaveEvery = 3 } }, cancellation: TestContext.Current.CancellationToken);
        string Words(string path) => TinyRun.Tensors(path).Single(item => item.Key.StartsWith("bundle", StringComparison.Ordinal)).Value;
        Assert.Equal(Words(Path.Combine(run.Output, "adapter-000003.safetensors")), Words(result.Adapter));
    }

    [Fact]
    public void The_norm_rule_pulls_by_a_hundred_times_the_rate()
    {
        using var scope = NewDisposeScope();
        using var tokens = new EmbeddingSet([new TokenStart("<s1>", "text_encoder", tensor(new[] { 0.6f, 0.8f, 0, 0.2f }, [2, 2]))], CPU);
        TokenTraining.PullNorms(tokens, 0.4, 5e-4);
        Assert.Equal([0.97f, 0.21f], tokens.FlatParameters.view(2, 2).norm(1).data<float>().ToArray(), (a, b) => Math.Abs(a - b) < 1e-6);
        TokenTraining.PullNorms(tokens, 0.4, 0.5);
        Assert.Equal([0.4f, 0.4f], tokens.FlatParameters.view(2, 2).norm(1).data<float>().ToArray(), (a, b) => Math.Abs(a - b) < 1e-6);
    }

    [Fact]
    public void Starts_are_words_their_mean_or_random_vectors_of_the_mean_length()
    {
        using var family = FamilyDetector.Open(TinyRun.Model);
        using var scope = NewDisposeScope();
        using var generator = new Generator(3);
        Tensor Start(LearnedTokenOptions token) => Assert.Single(TokenTraining.Starts([token], family, generator)).Rows;
        var (cat, dog) = (family.TokenVectors("text_encoder", "cat"), family.TokenVectors("text_encoder", "dog"));
        var token = new LearnedTokenOptions { Token = "<s1>" };
        void Same(Tensor expected, Tensor actual) => TensorAssert.Close(expected, actual, 0, 1e-7, "start");
        Same(cat, Start(token with { Init = "cat" }));
        Same(cat.repeat(3, 1), Start(token with { Init = "cat", Vectors = 3 }));
        Same(cat_([cat, dog]), Start(token with { Init = "cat dog", Vectors = 2 }));
        Same(cat.Plus(dog).Over(2), Start(token with { Init = "cat dog", InitMean = true }));
        Same(TensorArithmetic.Filled([4], family.MeanTokenNorm("text_encoder")), Start(token with { Vectors = 4 }).norm(1));

        static Tensor cat_(Tensor[] rows) => torch.cat(rows);
    }

    [Fact]
    public void What_cannot_be_learned_is_said_before_anything_is_written()
    {
        void Refused(string message, TrainTextualInversionOptions options)
        {
            Assert.Equal(message, Assert.Throws<OptionsException>(() => TrainTextualInversion.Run(options, cancellation: TestContext.Current.CancellationToken)).Message);
            Assert.False(Directory.Exists(run.Output));
        }
        LearnedTokenOptions[] One(LearnedTokenOptions token) => [token];
        Refused($"the placeholder token dog is in the vocabulary of the model already, where it means something: take a made-up word, such as <dog-1>; in {TinyRun.Model}/tokenizer",
            Inversion with { Tokens = One(new() { Token = "dog" }), Template = CaptionTemplate.Object });
        Refused("tokens[0].init: \"cat dog\" is 2 tokens for text_encoder of this model, and <s1> has 1 vector; give one word, or vectors = 2, or init_mean = true", Inversion with { Tokens = One(new() { Token = "<s1>", Init = "cat dog" }) });
        Refused("tokens[0].token: no caption holds <s2>, so nothing would be learned; put it there with suffix = \"<s2>\" in [[data]] or with replaces = \"a text of the captions\", or take template = \"object\" or \"style\"",
            Inversion with { Tokens = One(new() { Token = "<s2>" }) });
        Refused("1 problem in the options\n\ntokens  empty; add at least one [[tokens]] table with the word to learn", Inversion with { Tokens = [] });
        Refused("2 problems in the options\n\ntokens[0].vectors   0; must be 1 or more\ntokens[0].replaces  dog; does nothing with template = \"style\", which takes the place of captions",
            Inversion with { Template = CaptionTemplate.Style, Tokens = One(new() { Token = "<s1>", Vectors = 0, Replaces = "dog" }) });
    }

    [Fact]
    public void A_pivotal_tuning_that_never_learns_its_words_is_refused() => Assert.Equal(
        "1 problem in the options\n\ninversion.steps  0; nothing would learn the words: give them steps of their own, or tuning_learning_rate to train them with the adapter",
        Assert.Throws<OptionsException>(() => TrainPivotal.Run(Pivotal with { Inversion = new InversionOptions { Steps = 0 } }, cancellation: TestContext.Current.CancellationToken)).Message);

    [Fact]
    public void Options_of_another_method_are_refused() => Assert.Equal(
        "1 problem in the options\n\nmethod  lora; these are the options of textual-inversion",
        Assert.Throws<OptionsException>(() => TrainTextualInversion.Plan(Inversion with { Method = TrainingMethod.Lora })).Message);

    [Fact]
    public void A_run_leaves_no_tensor_behind()
    {
        var number = 0;
        LeakGuard.AssertNothingLeft(() =>
        {
            number++;
            TrainTextualInversion.Run(Inversion with { Output = run.Path($"inversion-{number}") });
            TrainPivotal.Run(Pivotal with { Output = run.Path($"pivotal-{number}") });
        });
    }

    /// <summary>The trained values of a run's newest state.</summary>
    private static Tensor Parameters(string states)
    {
        using var reader = SafetensorsReader.Open(Path.Combine(Directory.GetDirectories(states).Order(StringComparer.Ordinal).Last(), "tensors.safetensors"));
        using var scope = NewDisposeScope();
        return reader.Read("parameters").clone().MoveToOuterDisposeScope();
    }

    private static Training.Listener StopAt(long step, CancellationTokenSource stop) => new(value =>
    {
        if (value is StepFinished finished && finished.Step == step) stop.Cancel();
    });
}
