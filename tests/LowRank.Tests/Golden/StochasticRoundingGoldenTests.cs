using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Rounding by chance with the reference's own bits: numbers of many sizes, and the walk of weights that only see small updates.</summary>
public class StochasticRoundingGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("stochastic_rounding");

    [Theory, MemberData(nameof(Cases))]
    public void Every_number_is_that_of_the_reference_to_the_bit(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var config = golden.Json.GetProperty("config");
        GoldenTraining.RequireKnown(config, "kind", "name", "seed", "count", "steps");
        var seed = config.GetProperty("seed").GetInt64();
        var values = golden.Tensor("value");
        TensorAssert.Equal(golden.Tensor("rounded_stochastic_as_float32"), StochasticRounding.Round(values, Bits("bits", config.GetProperty("count").GetInt64(), seed)).to(ScalarType.Float32));
        TensorAssert.Equal(golden.Tensor("rounded_nearest_even_as_float32"), values.to(ScalarType.BFloat16).to(ScalarType.Float32));
        var many = StochasticRounding.Round(TensorArithmetic.Filled([40000], 1.00321f), Bits("bias", 40000, seed)).to(ScalarType.Float64).mean().item<double>();
        Assert.Equal(golden.Json.GetProperty("mean_of_40000_roundings_of_1_00321").GetDouble(), many);

        var weight = Formula.Noise("weight", [64], seed, 0.5).to(ScalarType.BFloat16);
        for (var step = 0; step < config.GetProperty("steps").GetInt32(); step++)
        {
            var moved = weight.to(ScalarType.Float32) - Formula.Noise($"gradient.{step}", [64], seed, 1).Times(1e-4);
            weight = StochasticRounding.Round(moved, Bits($"bits.{step}", 64, seed));
        }
        TensorAssert.Equal(golden.Tensor("walk_stochastic_as_float32"), weight.to(ScalarType.Float32));
    }

    /// <summary>The top 16 bits of each number of the formula.</summary>
    private static Tensor Bits(string name, long count, long seed) => tensor(Formula.Uniform(name, count, seed).Select(value => (int)((value + 1.0) * (1 << 23)) >> 8).ToArray());
}
