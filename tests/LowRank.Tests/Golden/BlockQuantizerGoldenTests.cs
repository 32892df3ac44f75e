using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class BlockQuantizerGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("quant8");

    [Theory, MemberData(nameof(Cases))]
    public void Maps_codes_and_numbers_are_those_of_the_exact_rule(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var signed = new BlockQuantizer(signed: true, CPU);
        using var unsigned = new BlockQuantizer(signed: false, CPU);
        TensorAssert.Equal(golden.Tensor("dynamic_map_signed"), signed.Map, "signed map");
        TensorAssert.Equal(golden.Tensor("dynamic_map_unsigned"), unsigned.Map, "unsigned map");
        var config = golden.Json.GetProperty("config");
        var vectors = config.GetProperty("vectors");
        for (var i = 0; i < vectors.GetArrayLength(); i++)
        {
            var (count, amplitude, positive) = (vectors[i][0].GetInt64(), vectors[i][1].GetDouble(), vectors[i][2].GetBoolean());
            var values = Formula.Noise($"vector.{i}", [count], config.GetProperty("seed").GetInt64(), amplitude).Power(3);
            if (positive) values = values * values;
            if (i == 0) values.narrow(0, 256, 256).zero_();
            AssertVector(golden, i, positive ? unsigned : signed, values);
        }
    }

    [Fact]
    public void Quantizing_leaves_no_tensor_behind()
    {
        using var scope = NewDisposeScope();
        using var quantizer = new BlockQuantizer(signed: true, CPU);
        var (values, codes, largest) = (randn(600), zeros(600, ScalarType.Byte), zeros(3));
        LeakGuard.AssertNothingLeft(() => quantizer.Quantize(values, codes, largest));
        LeakGuard.AssertNothingLeft(() => quantizer.Dequantize(codes, largest).Dispose());
    }

    private static void AssertVector(GoldenCase golden, int index, BlockQuantizer quantizer, Tensor values)
    {
        var (codes, largest) = (zeros(values.numel(), ScalarType.Byte), zeros((values.numel() + 255) / 256));
        quantizer.Quantize(values, codes, largest);
        TensorAssert.Equal(golden.Tensor($"absmax.{index}"), largest, $"absmax.{index}");
        var stored = golden.Tensor($"codes.{index}");
        var map = quantizer.Map;
        for (var at = 0L; at < values.numel(); at++)
        {
            int expected = stored[at].item<byte>(), actual = codes[at].item<byte>();
            if (expected == actual) continue;
            // the case's tolerance: only next to the middle between two codes
            var scaled = (double)values[at].item<float>() / largest[at / 256].item<float>();
            var middle = ((double)map[expected].item<float>() + map[actual].item<float>()) / 2;
            Assert.True(Math.Abs(expected - actual) == 1 && Math.Abs(scaled - middle) < 1e-6, $"vector {index}, number {at}: code {actual}, expected {expected}");
        }
        TensorAssert.Close(golden.Tensor($"dequantized.{index}"), quantizer.Dequantize(stored, largest), 1e-6, 0, $"dequantized.{index}");
    }
}
