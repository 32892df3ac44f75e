using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

/// <summary>16-bit weights without a copy in 32 bits.</summary>
public sealed class RoundedOptimizerTests
{
    private const long First = 37, Second = 64;

    /// <summary>A step of a thousandth of what bfloat16 tells apart: to the nearest nothing would ever move.</summary>
    [Fact]
    public void Updates_too_small_for_16_bits_add_up()
    {
        using var scope = NewDisposeScope();
        var parameters = Parameters(ones(First + Second, ScalarType.BFloat16), decay: 0);
        using var stream = new Generator(3);
        using var optimizer = new RoundedOptimizer(parameters, own => new Sgd(own, 0, false), count => StochasticRounding.Draw(count, stream, CPU));
        for (var step = 0; step < 1000; step++)
        {
            parameters.Gradients.copy_(tensor(-1f));
            optimizer.Step(1e-2);   // of a rate of 1e-3
        }
        // the mean of 101 walks of 1000 steps of 1e-5: 1.01, spread sqrt(1000 · 1e-5 · 2^-7 / 101) = 9e-4
        Assert.Equal(1.01, parameters.Values.to(ScalarType.Float64).mean().item<double>(), 4e-3);
        Assert.Equal(1, ones(1, ScalarType.BFloat16).Plus(1e-5).to(ScalarType.Float32).item<float>());
    }

    public static TheoryData<string> Optimizers => [.. TinyTraining.Optimizers.Where(item => item.Value.Optimizer is not (OptimizerKind.Prodigy or OptimizerKind.AdamwScheduleFree)).Select(item => item.Key)];

    /// <summary>With no bits to add, rounding is towards zero, and one piece or many are the same.</summary>
    [Theory, MemberData(nameof(Optimizers))]
    public void Pieces_give_what_the_whole_gives(string name)
    {
        using var scope = NewDisposeScope();
        Tensor Trained(long pieceLength)
        {
            var parameters = Parameters(Formula.Noise("values", [First + Second], 1).to(ScalarType.BFloat16));
            using var optimizer = new RoundedOptimizer(parameters, TinyTraining.Optimizers[name].MakeOptimizer, count => zeros(count, ScalarType.Int32), pieceLength);
            for (var step = 0; step < 4; step++)
            {
                parameters.Gradients.copy_(Formula.Noise($"gradient.{step}", [First + Second], 1));
                optimizer.Step(1, step == 1 ? new HashSet<int> { 1 } : null);
            }
            return parameters.Values;
        }
        var whole = Trained(1000);
        Assert.True(whole.ne(Formula.Noise("values", [First + Second], 1).to(ScalarType.BFloat16)).any().item<bool>());
        TensorAssert.Equal(whole.to(ScalarType.Float32), Trained(1).to(ScalarType.Float32));
    }

    [Fact]
    public void What_is_left_out_of_a_step_keeps_its_bits()
    {
        using var scope = NewDisposeScope();
        var parameters = Parameters(Formula.Noise("values", [First + Second], 1).to(ScalarType.BFloat16));
        using var before = parameters.Values.clone();
        using var optimizer = new RoundedOptimizer(parameters, own => new AdamW(own), count => TensorArithmetic.Filled([count], 65535, ScalarType.Int32), 1);
        parameters.Gradients.copy_(tensor(1f));
        optimizer.Step(100, new HashSet<int> { 0 });
        Assert.True(parameters.Values.narrow(0, 0, First).eq(before.narrow(0, 0, First)).all().item<bool>());
        Assert.True(parameters.Values.narrow(0, First, Second).ne(before.narrow(0, First, Second)).all().item<bool>());
    }

    [Fact]
    public void The_norm_of_16_bit_gradients_is_summed_in_32()
    {
        using var scope = NewDisposeScope();
        var gradients = ones(100_000, ScalarType.BFloat16);   // in 16 bits a sum of ones ends at 256
        var parameters = new TrainedParameters(zeros_like(gradients), gradients, [new ParameterSegment("a", 0, 100_000, 0) { Shape = [100_000] }], [new ParameterGroup(1, 0)]);
        Assert.Equal(Math.Sqrt(100_000), parameters.GradientNorm(), 1e-3);
    }

    [Fact]
    public void Nothing_is_left_behind() => LeakGuard.AssertNothingLeft(() =>
    {
        using var values = ones(First + Second, ScalarType.BFloat16);
        using var gradients = ones_like(values);
        using var optimizer = new RoundedOptimizer(Parameters(values, gradients), own => new AdamW(own), count => zeros(count, ScalarType.Int32));
        optimizer.Step(1);
        using var scope = NewDisposeScope();
        optimizer.Save();
    });

    private static TrainedParameters Parameters(Tensor values, Tensor? gradients = null, double decay = 0.01) => new(values, gradients ?? zeros_like(values),
        [new ParameterSegment("a", 0, First, 0) { Shape = [First] }, new ParameterSegment("b", First, Second, 0) { Shape = [8, 8] }], [new ParameterGroup(1e-3, decay)]);
}
