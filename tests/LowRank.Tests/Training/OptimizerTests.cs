using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

public class OptimizerTests
{
    public static TheoryData<string> All => [.. TinyTraining.Optimizers.Keys];

    [Theory, MemberData(nameof(All))]
    public void A_restored_optimizer_goes_on_with_the_same_bits(string kind)
    {
        using var scope = NewDisposeScope();
        var (straight, first) = (Parameters(), Parameters());
        using var straightOptimizer = Create(kind, straight);
        using var firstOptimizer = Create(kind, first);
        for (var step = 0; step < 5; step++) Step(straightOptimizer, step, absent: step < 2);
        for (var step = 0; step < 3; step++) Step(firstOptimizer, step, absent: step < 2);

        var second = Parameters();
        second.Values.copy_(first.Values);
        using var secondOptimizer = Create(kind, second);
        secondOptimizer.Restore(firstOptimizer.Save());
        for (var step = 3; step < 5; step++) Step(secondOptimizer, step, absent: false);

        TensorAssert.Equal(straight.Values, second.Values);
        foreach (var (name, tensor) in straightOptimizer.Save()) TensorAssert.Equal(tensor, secondOptimizer.Save()[name], name);
    }

    [Theory, MemberData(nameof(All))]
    public void A_step_leaves_no_tensor_behind(string kind)
    {
        using var scope = NewDisposeScope();
        using var optimizer = Create(kind, Parameters());
        LeakGuard.AssertNothingLeft(() => optimizer.Step(0.5));
        LeakGuard.AssertNothingLeft(() => optimizer.Step(0.5, new HashSet<int> { 1 }));
    }

    [Fact]
    public void The_table_has_every_optimizer() =>
        Assert.Equal(Enum.GetValues<OptimizerKind>(), TinyTraining.Optimizers.Values.Select(options => options.Optimizer).Distinct().Order());

    [Fact]
    public void What_is_trained_comes_back_bit_for_bit_after_an_output()
    {
        using var scope = NewDisposeScope();
        var parameters = Parameters();
        using var optimizer = new ScheduleFreeAdamW(parameters);
        using var average = new MovingAverage(parameters, new MovingAverageRule(0.9));
        var loop = new TrainingLoop(optimizer, new LearningRateSchedule.Constant(), new TrainingLoopOptions(3), average);
        for (var step = 0; step < 3; step++) Step(optimizer, step, absent: false);
        var (trained, used) = (parameters.Values.clone(), optimizer.ValuesForUse()!);
        using (loop.UseForOutput(averaged: false)) TensorAssert.Equal(used, parameters.Values);
        TensorAssert.Equal(trained, parameters.Values);
        using (loop.UseForOutput(averaged: true)) TensorAssert.Equal(average.Values, parameters.Values);
        TensorAssert.Equal(trained, parameters.Values);
        Assert.NotEqual(trained.sum().item<float>(), used.sum().item<float>());
        LeakGuard.AssertNothingLeft(() => loop.UseForOutput(averaged: false).Dispose());
        LeakGuard.AssertNothingLeft(() => average.Update(4));
    }

    [Fact]
    public void Rates_make_groups_and_what_no_pattern_names_keeps_the_common_one()
    {
        using var scope = NewDisposeScope();
        (string, Tensor)[] named = [("unet.mid.a.down", zeros(2, 3)), ("unet.mid.a.up", zeros(3, 2)), ("unet.out.b.down", zeros(2, 3)), ("text_encoder.c.down", zeros(1, 3))];
        var rates = new ParameterRates(1e-3, 0.1, UpRatio: 16, [new() { Pattern = "unet:mid.**", LearningRate = 1e-4 }, new() { Pattern = "text_encoder:**", LearningRate = 0 }]);
        var parameters = rates.Sort(named, zeros(21), zeros(21));
        Assert.Equal([new(1e-4, 0.1), new(1e-4 * 16, 0.1), new(1e-3, 0.1), new(0, 0.1)], parameters.Groups);
        Assert.Equal([0, 1, 2, 3], parameters.Segments.Select(segment => segment.Group));
        Assert.Equal([3, 2], parameters.Segments[1].Shape);
    }

    [Fact]
    public void A_rate_for_nothing_is_refused()
    {
        using var scope = NewDisposeScope();
        var rates = new ParameterRates(1e-3, Overrides: [new() { Pattern = "unet:**", LearningRate = 1 }, new() { Pattern = "text_encoder:**", LearningRate = 1 }]);
        var problem = Assert.Throws<OptionsException>(() => rates.Sort([("unet.mid.a.down", zeros(2))], zeros(2), zeros(2)));
        Assert.Equal("training.rates[1].pattern: \"text_encoder:**\" matches none of the trained layers, such as unet:mid.a", problem.Message);
    }

    [Fact]
    public void Prodigy_has_one_rate()
    {
        using var scope = NewDisposeScope();
        var parameters = new TrainedParameters(zeros(4), zeros(4), [new("a", 0, 2), new("b", 2, 2, 1)], [new ParameterGroup(1), new ParameterGroup(0.5)]);
        Assert.Equal("Prodigy has one rate for all groups (Parameter 'parameters')", Assert.Throws<ArgumentException>(() => { new Prodigy(parameters, new ProdigyRule()).Dispose(); }).Message);
    }

    [Fact]
    public void Eight_bits_keep_a_quarter_of_the_state()
    {
        using var scope = NewDisposeScope();
        var parameters = new TrainedParameters(zeros(1 << 20), zeros(1 << 20), [new("all", 0, 1 << 20)], [new(1e-3)]);
        using var optimizer = new AdamW8bit(parameters);
        using var whole = new AdamW(parameters);
        static long Bytes(IOptimizer optimizer) => optimizer.Save().Values.Sum(tensor => tensor.numel() * tensor.element_size());
        Assert.InRange((double)Bytes(optimizer) / Bytes(whole), 0.25, 0.26);
    }

    [Fact]
    public void A_group_in_several_pieces_moves_as_one_in_one_piece()
    {
        using var scope = NewDisposeScope();
        var (whole, pieces) = (Parameters(), Parameters(groupOfSecond: 1));
        using var wholeOptimizer = new AdamW(whole);
        using var piecesOptimizer = new AdamW(pieces);
        for (var step = 0; step < 3; step++)
        {
            Step(wholeOptimizer, step, absent: false);
            Step(piecesOptimizer, step, absent: false);
        }
        TensorAssert.Close(whole.Values, pieces.Values, rtol: 0, atol: 1e-7);
    }

    [Fact]
    public void The_state_of_another_optimizer_is_refused()
    {
        using var scope = NewDisposeScope();
        using var adam = new AdamW(Parameters());
        using var sgd = new Sgd(Parameters(), momentum: 0.9);
        var problem = Assert.Throws<CheckpointException>(() => adam.Restore(sgd.Save()));
        Assert.Equal(
            """
            the saved optimizer state does not fit
              expected  first_moment (12), second_moment (12), steps (3)
              found     momentum (12)
              try       to resume with the optimizer and adapter options that the run began with
            """, problem.Message);
    }

    [Fact]
    public void Clipping_scales_the_whole_gradient_to_the_limit_and_leaves_shorter_ones_alone()
    {
        using var scope = NewDisposeScope();
        var parameters = Parameters();
        parameters.Gradients.copy_(tensor(2f));
        var norm = parameters.GradientNorm();
        Assert.Equal(2 * Math.Sqrt(12), norm, 1e-6);
        parameters.ClipGradients(norm, limit: 10);
        Assert.Equal(2f, parameters.Gradients[0].item<float>());
        parameters.ClipGradients(norm, limit: 1);
        Assert.Equal(norm / (norm + 1e-6), parameters.GradientNorm(), 2e-7);
    }

    [Fact]
    public void The_norm_of_a_long_gradient_keeps_its_digits()
    {
        using var scope = NewDisposeScope();
        var gradients = Formula.Noise("long", [8_000_000], 5);
        var parameters = new TrainedParameters(gradients, gradients, [new("all", 0, gradients.numel())], [new(1)]);
        var exact = gradients.to(ScalarType.Float64).norm().item<double>();
        Assert.Equal(1, parameters.GradientNorm() / exact, 1e-6);
    }

    [Fact]
    public void Segments_with_a_gap_are_refused()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<ArgumentException>(() => new TrainedParameters(zeros(5), zeros(5), [new("a", 0, 2), new("b", 3, 2)], [new(1)]));
        Assert.Throws<ArgumentException>(() => new TrainedParameters(zeros(5), zeros(5), [new("a", 0, 2), new("b", 2, 2)], [new(1)]));
        Assert.Throws<ArgumentException>(() => new TrainedParameters(zeros(4), zeros(4), [new("a", 0, 4, Group: 1)], [new(1)]));
        Assert.Throws<ArgumentException>(() => new TrainedParameters(zeros(4), zeros(4), [new("a", 0, 4) { Shape = [2, 3] }], [new(1)]));
    }

    private static IOptimizer Create(string kind, TrainedParameters parameters) => TinyTraining.Optimizers[kind].MakeOptimizer(parameters);

    private static TrainedParameters Parameters(int groupOfSecond = 0) => new(
        Formula.Noise("start", [12], 3), zeros(12),
        [new("a", 0, 4) { Shape = [2, 2] }, new("b", 4, 3, groupOfSecond), new("c", 7, 5)],
        [new ParameterGroup(1e-2, 0.1), new ParameterGroup(1e-2, 0.1)]);

    private static void Step(IOptimizer optimizer, int step, bool absent)
    {
        using var gradient = Formula.Noise($"gradient.{step}", [12], 3);
        optimizer.Parameters.Gradients.copy_(gradient);
        optimizer.Step(1.0 / (step + 1), absent ? new HashSet<int> { 1 } : null);
    }
}
