using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Models;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Whole parts of a model: what moves, what is written and opened again, and that a resumed run has the same bytes.</summary>
public sealed class TrainFullTests : IDisposable
{
    private readonly TinyRun run = new();

    private static string Xl => Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sdxl");

    public void Dispose() => run.Dispose();

    [Fact]
    public void The_loss_falls()
    {
        var losses = new List<double>();
        var options = With("run") with { Noise = new NoiseOptions { MinTimestep = 990 } };
        Train(options with { Training = options.Training with { Steps = 60, LearningRate = 3e-3, SaveEvery = 0 } }, listen: item => { if (item is StepFinished step) losses.Add(step.Loss); });
        Assert.Equal(60, losses.Count);
        Assert.True(losses.TakeLast(20).Average() < 0.8 * losses.Take(20).Average(), string.Join(' ', losses));
    }

    [Theory]
    [InlineData("unet")]
    [InlineData("text_encoder")]
    [InlineData("unet", "text_encoder")]
    public void Only_the_parts_that_the_recipe_names_move_and_all_of_each_does(params string[] parts)
    {
        var result = Train(With("run", parts));
        foreach (var part in (string[])["unet", "text_encoder", "vae"])
        {
            var (before, after) = (Weights(TinyRun.Model, part), Weights(result.Adapter, part));
            Assert.Equal(before.Keys.Order(), after.Keys.Order());
            if (parts.Contains(part)) Assert.All(after, tensor => Assert.NotEqual(before[tensor.Key], tensor.Value));
            else Assert.Equal(before, after);
        }
    }

    /// <summary>Decay pulls at every parameter that has a gradient; SDXL reads neither encoder's last layer for the denoiser, the second's only for the pooled text.</summary>
    [Fact]
    public void What_nothing_in_use_depends_on_is_left_alone_by_decay_too()
    {
        var options = With("run", "text_encoder", "text_encoder_2") with { Model = Xl };
        var result = Train(options with { Training = options.Training with { WeightDecay = 0.5 } });
        var (first, second) = (Moved("text_encoder"), Moved("text_encoder_2"));
        Assert.All(first, tensor => Assert.Equal(!tensor.Name.Contains("final_layer_norm", StringComparison.Ordinal) && !tensor.Name.Contains("layers.2.", StringComparison.Ordinal), tensor.Moved));
        Assert.All(second, tensor => Assert.True(tensor.Moved, tensor.Name));

        List<(string Name, bool Moved)> Moved(string part)
        {
            var before = Weights(Xl, part);
            return [.. Weights(result.Adapter, part).Select(tensor => (tensor.Key, before[tensor.Key] != tensor.Value))];
        }
    }

    [Fact]
    public void Another_rate_for_text_encoders_and_for_layers()
    {
        var options = With("run", "unet", "text_encoder");
        options = options with { Training = options.Training with { Steps = 1, WarmupSteps = 0, Optimizer = OptimizerKind.Sgd, Rates = [new LearningRateOverride { Pattern = "unet:conv_in", LearningRate = 0 }] } };
        var (equal, faster) = (Train(options), Train(options with { Output = run.Path("faster"), Full = options.Full with { TextEncoderLearningRate = 2 * options.Training.LearningRate } }));
        Assert.Equal(Weights(equal.Adapter, "unet"), Weights(faster.Adapter, "unet"));
        Assert.NotEqual(Weights(equal.Adapter, "text_encoder"), Weights(faster.Adapter, "text_encoder"));
        var (before, after) = (Weights(TinyRun.Model, "unet"), Weights(equal.Adapter, "unet"));
        Assert.All(after, tensor => Assert.Equal(tensor.Key.StartsWith("conv_in.", StringComparison.Ordinal), before[tensor.Key] == tensor.Value));
    }

    [Fact]
    public void The_model_is_written_whole_and_is_the_base_of_the_next_run_and_of_pictures()
    {
        var model = Train(With("run") with { Save = new ModelSaveOptions { Precision = SavePrecision.Fp16 } }).Adapter;
        Assert.Equal(run.Path("run", "model"), model);
        string[] Files(string folder) => [.. Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(folder, file)).Order(StringComparer.Ordinal)];
        Assert.Equal(Files(TinyRun.Model), Files(model));
        foreach (var part in (string[])["unet", "text_encoder", "vae"]) Assert.All(TinyRun.Tensors(FileOf(model, part)).Values, tensor => Assert.StartsWith("Float16", tensor, StringComparison.Ordinal));
        using (var reader = SafetensorsReader.Open(Path.Combine(model, "unet", "diffusion_pytorch_model.safetensors")))
        {
            Assert.Equal("pt", reader.Metadata["format"]);
            Assert.Equal("4", reader.Metadata["lowrank.steps"]);
            Assert.Contains("method = \"full\"", reader.Metadata["lowrank.options"], StringComparison.Ordinal);
            Assert.DoesNotContain(run.Output, reader.Metadata["lowrank.options"], StringComparison.Ordinal);
        }
        var next = With("next") with { Model = model };
        Assert.True(Train(next).Finished);
        Assert.True(TinyRun.Train(run.Options with { Model = model, Output = run.Path("adapter") }).Finished);
        Assert.NotEqual(Picture(TinyRun.Model), Picture(model));
    }

    /// <summary>Everything of a run's state: the average of the weights, text encoders that learn, accumulation, checkpointing, quantised moments.</summary>
    [Theory]
    [InlineData(1, OptimizerKind.Adamw, false)]
    [InlineData(2, OptimizerKind.Adamw8bit, true)]
    [InlineData(3, OptimizerKind.Prodigy, true)]
    public void A_resumed_run_has_the_bytes_of_an_uninterrupted_one(int stopAfter, OptimizerKind optimizer, bool checkpointing)
    {
        TrainFullOptions Options(string name)
        {
            var options = With(name, "unet", "text_encoder");
            var rate = optimizer == OptimizerKind.Prodigy ? 1 : options.Training.LearningRate;
            return options with
            {
                Data = [options.Data[0] with { Flip = true, CaptionDropout = 0.3, ShuffleTags = true }],
                Training = options.Training with { Optimizer = optimizer, LearningRate = rate, Accumulation = 2, EmaDecay = 0.9, GradientCheckpointing = checkpointing, SaveEvery = 0 },
                Preview = new PreviewOptions { Prompts = ["a dog"], Every = 2, Steps = 1 },
            };
        }
        var expected = Train(Options("straight"));
        var stopped = Options("stopped");
        using var stop = new CancellationTokenSource();
        var first = Train(stopped, listen: made => { if (made is StepFinished step && step.Step == stopAfter) stop.Cancel(); }, cancellation: stop.Token);
        Assert.False(first.Finished);
        Assert.Equal(run.Path("stopped", "state", $"step-00000{stopAfter}"), first.Adapter);
        Assert.False(Directory.Exists(run.Path("stopped", "model")));
        var second = Train(stopped, resume: true);
        foreach (var part in (string[])["unet", "text_encoder", "vae"]) Assert.Equal(Weights(expected.Adapter, part), Weights(second.Adapter, part));
        Assert.Equal(File.ReadAllBytes(expected.BeforeAfter!), File.ReadAllBytes(second.BeforeAfter!));
    }

    /// <summary>No copy in 32 bits anywhere: the state holds bfloat16, and what rounds goes on where it stood.</summary>
    [Theory]
    [InlineData(OptimizerKind.Adamw)]
    [InlineData(OptimizerKind.Adamw8bit)]
    public void Sixteen_bit_weights_move_in_small_steps_and_resume_to_the_same_bytes(OptimizerKind optimizer)
    {
        TrainFullOptions Options(string name)
        {
            var options = With(name, "unet", "text_encoder");
            return options with
            {
                Training = options.Training with { Precision = Precision.Bf16, Optimizer = optimizer, LearningRate = 1e-6, SaveEvery = 0 },
                Save = new ModelSaveOptions { Precision = SavePrecision.Bf16 },
            };
        }
        var expected = Train(Options("straight"));
        using var stop = new CancellationTokenSource();
        Train(Options("stopped"), listen: made => { if (made is StepFinished { Step: 2 }) stop.Cancel(); }, cancellation: stop.Token);
        using (var state = SafetensorsReader.Open(run.Path("stopped", "state", "step-000002", "tensors.safetensors"))) Assert.Equal("BF16", state.Tensors["parameters"].Type.ToString().ToUpperInvariant());
        var resumed = Train(Options("stopped"), resume: true);
        foreach (var part in (string[])["unet", "text_encoder"])
        {
            var (start, end) = (Weights(Written(Options("start") with { Training = Options("start").Training with { LearningRate = 1e-30, WeightDecay = 0 } }), part), Weights(expected.Adapter, part));
            Assert.Equal(end, Weights(resumed.Adapter, part));
            Assert.NotEqual(start, end);   // a rate of 1e-6 is far below what bfloat16 tells apart in most weights
        }

        string Written(TrainFullOptions options) => Train(options with { Output = run.Path(Guid.NewGuid().ToString("N")) }).Adapter;
    }

    [Fact]
    public void Gradient_checkpointing_changes_no_bit_of_what_is_trained()
    {
        var options = With("kept", "unet", "text_encoder");
        var kept = Train(options).Adapter;
        var recomputed = Train(options with { Output = run.Path("recomputed"), Training = options.Training with { GradientCheckpointing = true } }).Adapter;
        foreach (var part in (string[])["unet", "text_encoder"]) Assert.Equal(Weights(kept, part), Weights(recomputed, part));
    }

    [Fact]
    public void Saves_hold_the_state_and_the_model_only_where_it_is_asked_for()
    {
        Train(With("run"));
        Assert.Equal(["model"], Directory.GetDirectories(run.Path("run"), "model*").Select(Path.GetFileName));
        Assert.Equal([run.Path("run", "state", "step-000002"), run.Path("run", "state", "step-000004")], RunFolder.Open(run.Path("run")).ReadEvents().OfType<RunSaved>().Select(saved => saved.Path));
        var often = With("often");
        often = often with { Training = often.Training with { SaveEvery = 1, Keep = 2 }, Save = often.Save with { Intermediate = true } };
        Train(often);
        Assert.Equal(["model", "model-000003", "model-000004"], Directory.GetDirectories(run.Path("often"), "model*").Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(Weights(run.Path("often", "model"), "unet"), Weights(run.Path("often", "model-000004"), "unet"));
        Assert.NotEqual(Weights(run.Path("often", "model"), "unet"), Weights(run.Path("often", "model-000003"), "unet"));
    }

    [Fact]
    public void The_average_of_the_weights_is_written_unless_the_recipe_says_otherwise()
    {
        var options = With("average");
        options = options with { Training = options.Training with { EmaDecay = 0.9 } };
        var average = Weights(Train(options).Adapter, "unet");
        var trained = Weights(Train(options with { Output = run.Path("trained"), Save = options.Save with { Ema = false } }).Adapter, "unet");
        Assert.NotEqual(average, trained);
        Assert.Equal(Weights(Train(With("plain")).Adapter, "unet"), trained);
    }

    [Fact]
    public void A_plan_counts_every_number_and_says_how_large_the_model_becomes()
    {
        var plan = TrainFull.Plan(With("run") with { Model = "icons-64", Full = new FullOptions { Parts = ["unet", "text_encoder"] } });
        Assert.Equal(7_240_004 + 689_920, plan.Parameters);
        Assert.Equal(4 * (7_240_004 + 689_920 + 681_911), plan.AdapterBytes);
        Assert.False(Directory.Exists(run.Path("run")));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_run_leaves_no_tensor_behind(bool checkpointing)
    {
        var options = With("run", "unet", "text_encoder");
        options = options with { Training = options.Training with { GradientCheckpointing = checkpointing, EmaDecay = 0.9 }, Preview = new PreviewOptions { Prompts = ["a dog"], Steps = 1 } };
        LeakGuard.AssertNothingLeft(() => Train(options with { Output = run.Path(Guid.NewGuid().ToString("N")) }));
    }

    [Fact]
    public void A_folder_that_holds_a_model_is_refused()
    {
        Directory.CreateDirectory(run.Path("run", "model"));
        var problem = Assert.Throws<OptionsException>(() => Train(With("run")));
        Assert.Equal(
            $"""
            the output folder already holds a run: {run.Path("run")}
              found     model
              try       to resume that run (--resume), another output folder, or remove the folder
            """, problem.Message);
    }

    [Fact]
    public void What_cannot_be_trained_is_said_before_the_run()
    {
        var options = With("run");
        Refused("1 problem in the options\n\nfull.parts  empty; must be one or more of unet, text_encoder, text_encoder_2, vae", options with { Full = new FullOptions { Parts = [] } });
        Refused("2 problems in the options\n\nfull.parts[1]  \"textencoder\" is none of unet, text_encoder, text_encoder_2, vae (did you mean \"text_encoder\"?)\nfull.parts[2]  unet is there twice", With("run", "unet", "textencoder", "unet"));
        Refused("1 problem in the options\n\nfull.text_encoder_learning_rate  0.1; does nothing without a text encoder in parts", options with { Full = new FullOptions { TextEncoderLearningRate = 0.1 } });
        Refused($"full.parts: text_encoder_2; the model {TinyRun.Model} (Stable Diffusion 1) has unet, text_encoder, vae", With("run", "text_encoder_2"));
        Refused("1 problem in the options\n\ntraining.loraplus_lr_ratio  4; does nothing without an adapter", options with { Training = options.Training with { LoraplusLrRatio = 4 } });
        Refused("2 problems in the options\n\ntraining.ema_decay  0.9; method = \"full\" with training.precision = \"bf16\" keeps no weights of 32 bits, and the average would stand still: leave it out or take fp32\ntraining.optimizer  prodigy; method = \"full\" with training.precision = \"bf16\" keeps no weights of 32 bits: take adamw8bit, adamw, adafactor or fp32",
            options with { Training = options.Training with { Precision = Precision.Bf16, EmaDecay = 0.9, Optimizer = OptimizerKind.Prodigy, LearningRate = 1 } });
        Refused("training.rates[0].pattern: \"unet:nothing\" matches none of the trained layers, such as unet:conv_in", options with { Training = options.Training with { Rates = [new LearningRateOverride { Pattern = "unet:nothing" }] } });
        Assert.False(Directory.Exists(run.Path("run")));
    }

    [Fact]
    public void An_adapter_table_in_a_full_recipe_is_refused()
    {
        File.WriteAllText(run.Path("recipe.toml"), $"method = 'full'\nmodel = 'icons-64'\noutput = 'x'\n[[data]]\nfolder = '{run.Pictures}'\n[adapter]\nrank = 8\n[save]\nformat = 'peft'\n");
        var problem = Assert.Throws<OptionsException>(() => TrainFullOptions.Read(run.Path("recipe.toml")));
        Assert.Equal($"2 problems in {run.Path("recipe.toml")}\n\nadapter      unknown key for this method; goes with method = \"lora\", \"dreambooth\", \"pivotal\"\nsave.format  unknown key", problem.Message);
    }

    private static void Refused(string message, TrainFullOptions options) => Assert.Equal(message, Assert.Throws<OptionsException>(() => Train(options)).Message);

    private TrainFullOptions With(string name, params string[] parts) => new()
    {
        Model = TinyRun.Model,
        Output = run.Path(name),
        Seed = 5,
        Data = [new DataSetOptions { Folder = run.Pictures }],
        Full = parts.Length == 0 ? new FullOptions() : new FullOptions { Parts = parts },
        Training = new TrainingOptions { Steps = 4, BatchSize = 2, LearningRate = 0.003, SaveEvery = 2 },
        Preview = new PreviewOptions { Captions = 0, Steps = 2 },
        Save = new ModelSaveOptions { Precision = SavePrecision.Fp32 },
    };

    private static TrainingResult Train(TrainFullOptions options, bool resume = false, Action<TrainingEvent>? listen = null, CancellationToken cancellation = default) =>
        TrainFull.Run(options, new Training.Listener(listen), resume, cancellation);

    /// <summary>The numbers of a part's weights by their present names, whatever their type in the file; old text encoders' files hold positions beside them.</summary>
    internal static Dictionary<string, string> Weights(string model, string part)
    {
        using var scope = NewDisposeScope();
        using var reader = SafetensorsReader.Open(FileOf(model, part));
        return reader.Tensors.Keys.Where(name => !name.EndsWith("position_ids", StringComparison.Ordinal)).ToDictionary(AutoencoderKL.PresentKey, name => Convert.ToHexString(reader.Read(name).to(ScalarType.Float32).bytes));
    }

    internal static string FileOf(string model, string part) => Directory.GetFiles(Path.Combine(model, part), "*.safetensors").Single();

    private string Picture(string model) => Convert.ToHexString(ImageFile.Read(Generate.Run(new GenerateOptions
    {
        Model = model,
        Prompt = "a dog, blue, garden",
        Output = run.Path("pictures-" + Guid.NewGuid().ToString("N")),
        Steps = 2,
    }).Pictures[0]).Pixels);
}
