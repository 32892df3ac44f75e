using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>Text encoders that are trained: what moves, what stands still, what files hold, and that a resumed run has the same bytes.</summary>
public sealed class TextEncoderTrainingTests : IDisposable
{
    private readonly TinyRun run = new();

    private static string Xl => Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sdxl");

    public void Dispose() => run.Dispose();

    [Fact]
    public void Both_parts_learn_and_the_file_holds_both()
    {
        var tensors = TinyRun.Tensors(TinyRun.Train(With("run", new TextEncoderOptions { Rank = 3, Alpha = 6, LearningRate = 0.01 })).Adapter);
        Assert.Contains(tensors.Keys, key => key.StartsWith("lora_unet_", StringComparison.Ordinal));
        var text = tensors.Where(tensor => tensor.Key.StartsWith("lora_te_text_model_encoder_layers_", StringComparison.Ordinal)).ToList();
        Assert.Equal(tensors.Count, text.Count + tensors.Keys.Count(key => key.StartsWith("lora_unet_", StringComparison.Ordinal)));
        Assert.All(text.Where(tensor => tensor.Key.EndsWith(".lora_down.weight", StringComparison.Ordinal)), tensor => Assert.StartsWith("Float16 3x", tensor.Value, StringComparison.Ordinal));
        Assert.All(text.Where(tensor => tensor.Key.EndsWith(".lora_up.weight", StringComparison.Ordinal)), tensor => Assert.NotEqual("", tensor.Value.Split(' ')[2].Trim('0')));
        Assert.All(text.Where(tensor => tensor.Key.EndsWith(".alpha", StringComparison.Ordinal)), tensor => Assert.Equal("Float16  0046", tensor.Value));   // 6
    }

    /// <summary>The names of SDXL's two encoders, in both conventions; one of the two by a preset that is limited to it.</summary>
    [Theory]
    [InlineData(AdapterFormat.Kohya, "attention", "lora_te1_text_model_", "lora_te2_text_model_")]
    [InlineData(AdapterFormat.Kohya, "text_encoder:attention", "lora_te1_text_model_", null)]
    [InlineData(AdapterFormat.Kohya, "text_encoder_2:all-linear", null, "lora_te2_text_model_")]
    [InlineData(AdapterFormat.Peft, "attention", "text_encoder.text_model.", "text_encoder_2.text_model.")]
    public void Either_encoder_or_both_are_trained_and_named_as_other_tools_name_them(AdapterFormat format, string target, string? first, string? second)
    {
        var options = With("run", new TextEncoderOptions { Targets = [target], LearningRate = 0.01 }) with { Model = Xl, Save = new SaveOptions { Format = format } };
        var keys = TinyRun.Tensors(TinyRun.Train(options).Adapter).Keys;
        Assert.Equal(first is not null, keys.Any(key => key.StartsWith(first ?? "lora_te1_", StringComparison.Ordinal)));
        Assert.Equal(second is not null, keys.Any(key => key.StartsWith(second ?? "lora_te2_", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(AdapterFormat.Kohya)]
    [InlineData(AdapterFormat.Peft)]
    public void The_written_file_changes_pictures_by_both_its_parts(AdapterFormat format)
    {
        var options = With("run", new TextEncoderOptions { LearningRate = 0.05 }) with { Save = new SaveOptions { Format = format, Precision = SavePrecision.Fp32 } };
        var file = TinyRun.Train(options).Adapter;
        string[] parts = ["unet", "text_encoder"];
        var pictures = parts.Append(null).Select(without => Picture(without is null ? file : Without(file, without))).ToList();
        Assert.Equal(3, pictures.Distinct().Count());
        Assert.DoesNotContain(Picture(null), pictures);
    }

    [Fact]
    public void After_its_stop_step_the_text_encoder_stands_still_bit_for_bit_and_the_unet_goes_on()
    {
        var options = With("run", new TextEncoderOptions { LearningRate = 0.01, StopStep = 2 }) with { Save = new SaveOptions { Precision = SavePrecision.Fp32 } };
        options = options with { Training = options.Training with { Steps = 5, SaveEvery = 1, Keep = 9, WeightDecay = 0.5 } };
        TinyRun.Train(options);
        var folder = RunFolder.Open(options.Output);
        var saves = Enumerable.Range(1, 5).Select(step => TinyRun.Tensors(folder.SavedAdapter(step))).ToList();
        bool Same(int one, int other, string prefix) => saves[one - 1].Where(item => item.Key.StartsWith(prefix, StringComparison.Ordinal) && !item.Key.EndsWith("alpha", StringComparison.Ordinal)).All(item => saves[other - 1][item.Key] == item.Value);
        Assert.False(Same(1, 2, "lora_te_"));
        Assert.True(Same(2, 3, "lora_te_"));
        Assert.True(Same(2, 5, "lora_te_"));
        Assert.False(Same(2, 3, "lora_unet_"));
    }

    /// <summary>With dropout and checkpointing, before and behind the text encoder's last step, in fp32 and bf16.</summary>
    [Theory]
    [InlineData(1, Precision.Fp32, false)]
    [InlineData(3, Precision.Fp32, true)]
    [InlineData(2, Precision.Bf16, true)]
    public void A_resumed_run_has_the_bytes_of_an_uninterrupted_one(int stopAfter, Precision precision, bool checkpointing)
    {
        TrainLoraOptions Options(string name)
        {
            var options = With(name, new TextEncoderOptions { LearningRate = 0.01, StopStep = 2 });
            return options with
            {
                Adapter = options.Adapter with { Dropout = 0.2 },
                Training = options.Training with { Precision = precision, GradientCheckpointing = checkpointing, SaveEvery = 0 },
                Preview = new PreviewOptions { Prompts = ["a dog"], Every = 1, Steps = 1 },
            };
        }
        var expected = File.ReadAllBytes(TinyRun.Train(Options("straight")).Adapter);
        var stopped = Options("stopped");
        using var stop = new CancellationTokenSource();
        Assert.False(TinyRun.Train(stopped, listen: made => { if (made is StepFinished step && step.Step == stopAfter) stop.Cancel(); }, cancellation: stop.Token).Finished);
        Assert.Equal(expected, File.ReadAllBytes(TinyRun.Train(stopped, resume: true).Adapter));
    }

    [Fact]
    public void Gradient_checkpointing_changes_no_bit_of_what_is_trained()
    {
        TrainLoraOptions Options(string name, bool checkpointing)
        {
            var options = With(name, new TextEncoderOptions { LearningRate = 0.01 });
            return options with { Adapter = options.Adapter with { Targets = ["all"], Dropout = 0.3 }, Training = options.Training with { Accumulation = 2, GradientCheckpointing = checkpointing } };
        }
        Assert.Equal(TinyRun.Tensors(TinyRun.Train(Options("kept", false)).Adapter), TinyRun.Tensors(TinyRun.Train(Options("recomputed", true)).Adapter));
    }

    [Theory]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void A_run_leaves_no_tensor_behind(bool text, bool checkpointing)
    {
        var options = With("run", text ? new TextEncoderOptions { StopStep = 2 } : null);
        options = options with { Training = options.Training with { GradientCheckpointing = checkpointing } };
        LeakGuard.AssertNothingLeft(() => TinyRun.Train(options with { Output = run.Path(Guid.NewGuid().ToString("N")) }));
    }

    [Fact]
    public void The_file_says_how_it_was_trained()
    {
        var options = With("run", new TextEncoderOptions { LearningRate = 2e-5 });
        options = options with { Training = options.Training with { ClipSkip = 2, GradientCheckpointing = true } };
        using var reader = SafetensorsReader.Open(TinyRun.Train(options).Adapter);
        Assert.Equal(("0.01", "2e-05", "2", "True"), (reader.Metadata["ss_unet_lr"], reader.Metadata["ss_text_encoder_lr"], reader.Metadata["ss_clip_skip"], reader.Metadata["ss_gradient_checkpointing"]));
    }

    [Fact]
    public void What_cannot_be_trained_is_said_before_the_run()
    {
        var one = With("run", new TextEncoderOptions { SecondLearningRate = 1e-5 });
        Refused($"text_encoder.second_learning_rate: does nothing for {TinyRun.Model}: Stable Diffusion 1 has one text encoder", one);
        Refused("text_encoder.targets[0]: \"**.to_q\" matches no module; nearest: text_encoder:text_model, text_encoder:text_model.encoder, text_encoder:text_model.embeddings", With("run", new TextEncoderOptions { Targets = ["**.to_q"] }));
        var deep = With("run", null);
        Refused("skipped layers: 8 (clip skip 9); text_encoder of this model can leave out 0 to 2", deep with { Training = deep.Training with { ClipSkip = 9 } });
    }

    private static void Refused(string message, TrainLoraOptions options) => Assert.Equal(message, Assert.Throws<OptionsException>(() => TinyRun.Train(options)).Message);

    private TrainLoraOptions With(string name, TextEncoderOptions? text) => run.Options with { Output = run.Path(name), TextEncoder = text };

    /// <summary>A file without one of its parts.</summary>
    private string Without(string file, string part)
    {
        var path = run.Path(part + ".safetensors");
        using var reader = SafetensorsReader.Open(file);
        string[] prefixes = part == "unet" ? ["lora_unet_", "unet."] : ["lora_te_", "text_encoder."];
        var tensors = reader.Tensors.Keys.Where(key => !prefixes.Any(prefix => key.StartsWith(prefix, StringComparison.Ordinal))).Select(key => KeyValuePair.Create(key, reader.Read(key))).ToList();
        SafetensorsWriter.Write(path, tensors, reader.Metadata.ToDictionary());
        foreach (var (_, tensor) in tensors) tensor.Dispose();
        return path;
    }

    private string Picture(string? adapter) => Convert.ToHexString(ImageFile.Read(Generate.Run(new GenerateOptions
    {
        Model = TinyRun.Model,
        Adapters = adapter is null ? [] : [new AdapterUse(adapter)],
        Prompt = "a dog, blue, garden",
        Output = run.Path("pictures-" + Guid.NewGuid().ToString("N")),
        Steps = 2,
    }).Pictures[0]).Pixels);
}
