using LowRank.Adapters;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>Runs in which the base preserves itself.</summary>
public sealed class TeacherTrainingTests : IDisposable
{
    private readonly TinyRun run = new();

    private TrainLoraOptions Options => run.Options with
    {
        Method = TrainingMethod.Dreambooth,
        Adapter = run.Options.Adapter with { Dropout = 0.2 },
        Loss = new LossOptions { TeacherWeight = 2 },
    };

    public void Dispose() => run.Dispose();

    [Theory]
    [InlineData("same", AdapterKind.Lora)]
    [InlineData("a dog", AdapterKind.Dora)]
    public void A_stopped_run_goes_on_to_the_same_bytes(string caption, AdapterKind kind)
    {
        var options = Options with { Loss = Options.Loss with { TeacherCaption = caption }, Adapter = Options.Adapter with { Kind = kind } };
        var whole = TinyRun.Train(options with { Output = run.Path("whole") });
        using var stop = new CancellationTokenSource();
        Assert.False(TinyRun.Train(options, listen: value =>
        {
            if (value is StepFinished { Step: 3 }) stop.Cancel();
        }, cancellation: stop.Token).Finished);
        Assert.Equal(File.ReadAllBytes(whole.Adapter), File.ReadAllBytes(TinyRun.Train(options, resume: true).Adapter));
    }

    [Theory]
    [InlineData("same")]
    [InlineData("a dog")]
    public void Gradient_checkpointing_changes_nothing(string caption)
    {
        var options = Options with { Loss = Options.Loss with { TeacherCaption = caption } };
        var usual = TinyRun.Train(options with { Output = run.Path("usual") });
        var again = TinyRun.Train(options with { Training = options.Training with { GradientCheckpointing = true } });
        Assert.Equal(TinyRun.Tensors(usual.Adapter), TinyRun.Tensors(again.Adapter));
    }

    [Fact]
    public void The_first_step_of_a_fresh_adapter_has_nothing_to_preserve_and_later_ones_are_held_back()
    {
        var taught = Losses(Options);
        Assert.Equal(0, taught[0].TeacherLoss);
        Assert.All(taught.Skip(1), step => Assert.True(step.TeacherLoss > 0 && step.TeacherLoss < step.Loss));
        var plain = Losses(Options with { Method = TrainingMethod.Lora, Loss = new LossOptions(), Output = run.Path("plain") });
        Assert.All(plain, step => Assert.Null(step.TeacherLoss));
        Assert.Equal(plain[0].Loss, taught[0].Loss);
        var strict = Losses(Options with { Loss = new LossOptions { TeacherWeight = 1000 }, Output = run.Path("strict") });
        Assert.True(strict[3].TeacherLoss / 1000 < taught[3].TeacherLoss / 2);
    }

    /// <summary>The caption of all pictures as the teacher's is the same as their own.</summary>
    [Fact]
    public void Another_caption_costs_a_pass_and_means_the_same_where_it_is_the_pictures_own()
    {
        var options = Options with { Adapter = run.Options.Adapter, Data = [new DataSetOptions { Folder = run.Pictures, Caption = "a dog" }] };
        var same = TinyRun.Train(options with { Output = run.Path("same") });
        var said = TinyRun.Train(options with { Loss = options.Loss with { TeacherCaption = "a dog" } });
        var (a, b) = (TinyRun.Tensors(same.Adapter), TinyRun.Tensors(said.Adapter));
        Assert.Equal(a.Keys, b.Keys);
        var (close, other) = (Numbers(same.Adapter), Numbers(said.Adapter));
        Assert.All(close.Zip(other), pair => Assert.Equal(pair.First, pair.Second, 2e-3f));   // written in 16 bits
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.01)]
    public void A_pivotal_tuning_is_taught_in_its_second_phase(double tuningRate)
    {
        var steps = new List<StepFinished>();
        TrainPivotal.Run(Pivotal with { Inversion = new InversionOptions { Steps = 2, TuningLearningRate = tuningRate } }, new Training.Listener(value =>
        {
            if (value is StepFinished step) steps.Add(step);
        }), cancellation: TestContext.Current.CancellationToken);
        Assert.Equal([true, true, false, false, false, false], steps.Select(step => step.TeacherLoss is null));
        Assert.Equal(0, steps[2].TeacherLoss);
        Assert.True(steps[5].TeacherLoss > 0);
    }

    [Fact]
    public void Where_there_is_no_base_to_ask_it_is_refused()
    {
        void Refused(string problem, Func<object> train) => Assert.Equal("1 problem in the options\n\n" + problem, Assert.Throws<OptionsException>(train).Message);
        Refused("loss.teacher_weight  2; not with [text_encoder]: what the base reads in a caption would be lost; leave out one of them, or take [prior] in place of the teacher",
            () => TinyRun.Train(Options with { TextEncoder = new TextEncoderOptions() }));
        Refused("loss.teacher_weight  2; needs an adapter, which is taken off to ask the base: not for method = \"full\"",
            () => TrainFull.Plan(new TrainFullOptions { Model = TinyRun.Model, Output = run.Output, Data = Options.Data, Loss = Options.Loss }));
        Refused("loss.teacher_weight  2; needs an adapter, which is taken off to ask the base: not for method = \"textual-inversion\"",
            () => TrainTextualInversion.Plan(new TrainTextualInversionOptions { Model = TinyRun.Model, Output = run.Output, Data = Options.Data, Tokens = Pivotal.Tokens, Loss = Options.Loss }));
        Refused("loss.teacher_caption  a dog; does nothing without teacher_weight", () => TinyRun.Train(Options with { Method = TrainingMethod.Lora, Loss = new LossOptions { TeacherCaption = "a dog" } }));
        Refused("loss.teacher_weight  -1; must be 0 (off) or more", () => TinyRun.Train(Options with { Method = TrainingMethod.Lora, Loss = new LossOptions { TeacherWeight = -1 } }));
    }

    [Fact]
    public void A_long_text_for_the_teacher_is_told_of()
    {
        var events = new Training.Listener();
        TrainLora.Run(Options with { Loss = Options.Loss with { TeacherCaption = string.Join(' ', Enumerable.Repeat("dog", 100)) } }, events, cancellation: TestContext.Current.CancellationToken);
        Assert.StartsWith("loss.teacher_caption is longer than the model's ", Assert.Single(events.All.OfType<RunWarning>()).Text, StringComparison.Ordinal);
    }

    private TrainPivotalOptions Pivotal => new()
    {
        Model = TinyRun.Model,
        Output = run.Output,
        Seed = 5,
        Data = [run.Options.Data[0] with { Suffix = "<s1>" }],
        Tokens = [new LearnedTokenOptions { Token = "<s1>" }],
        Loss = new LossOptions { TeacherWeight = 2, TeacherCaption = "a dog" },
        Adapter = run.Options.Adapter,
        Training = run.Options.Training,
        Preview = run.Options.Preview,
    };

    private static List<StepFinished> Losses(TrainLoraOptions options)
    {
        var steps = new List<StepFinished>();
        TinyRun.Train(options, listen: value =>
        {
            if (value is StepFinished step) steps.Add(step);
        });
        return steps;
    }

    private static float[] Numbers(string path)
    {
        using var reader = SafetensorsReader.Open(path);
        return [.. reader.Tensors.Keys.SelectMany(name =>
        {
            using var scope = TorchSharp.torch.NewDisposeScope();
            return reader.Read(name).to(TorchSharp.torch.ScalarType.Float32).flatten().data<float>().ToArray();
        })];
    }
}
