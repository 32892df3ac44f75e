using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class GuidanceGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("guidance");

    [Theory, MemberData(nameof(Cases))]
    public void Predictions_are_guided_and_rescaled(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var json = golden.Json;
        var shape = json.GetProperty("shape").EnumerateArray().Select(value => value.GetInt64()).ToArray();
        var both = (Formula.Noise("model_output", [2 * shape[0], .. shape[1..]], json.GetProperty("seed").GetInt64())
            * tensor(BetaTables.Linspace(0.5f, 1.5f, (int)shape[1])).view(1, -1, 1, 1)).Plus(0.3);
        var tolerance = json.GetProperty("tolerance");
        foreach (var entry in json.GetProperty("entries").EnumerateArray())
        {
            var guidance = new Guidance(entry.GetProperty("guidance_scale").GetDouble(), entry.GetProperty("guidance_rescale").GetDouble());
            var name = entry.GetProperty("tensor").GetString()!;
            var actual = guidance.Combine(both[..(int)shape[0]], both[(int)shape[0]..]);
            TensorAssert.Close(golden.Tensor(name), actual, tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble(), name);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void An_interval_covers_the_same_steps(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var entry in golden.Json.GetProperty("interval").EnumerateArray())
        {
            var guidance = new Guidance(3) { Start = entry.GetProperty("start").GetDouble(), Stop = entry.GetProperty("stop").GetDouble() };
            var steps = entry.GetProperty("steps").GetInt32();
            var expected = entry.GetProperty("guided").EnumerateArray().Select(value => value.GetBoolean());
            Assert.Equal(expected, Enumerable.Range(0, steps).Select(step => guidance.Covers(step, steps)));
        }
    }
}
