using System.Text.Json;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class MovingAverageGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("ema_decays");

    [Theory, MemberData(nameof(Cases))]
    public void Decays_and_averages_are_those_of_the_library(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var tolerance = golden.Json.GetProperty("tolerance");
        double Tolerance(string of, string kind) => tolerance.GetProperty(of).GetProperty(kind).GetDouble();
        foreach (var row in golden.Json.GetProperty("rows").EnumerateArray())
        {
            var setting = row.GetProperty("setting");
            var rule = Rule(setting);
            var weight = zeros(1);
            using var average = new MovingAverage(new TrainedParameters(weight, zeros(1), [new("weight", 0, 1)], [new(1)]), rule);
            var decays = row.GetProperty("decays").EnumerateArray().Select(item => item.GetDouble()).ToArray();
            var shadows = row.GetProperty("shadow_of_sin").EnumerateArray().Select(item => item.GetDouble()).ToArray();
            for (var update = 1; update <= decays.Length; update++)
            {
                weight.copy_(tensor((float)Math.Sin(update * 0.7)));
                average.Update(update);
                Assert.Equal(decays[update - 1], rule.DecayAt(update), Tolerance("decays", "rtol") * Math.Abs(decays[update - 1]));
                var allowed = Tolerance("shadow_of_sin", "atol") + Tolerance("shadow_of_sin", "rtol") * Math.Abs(shadows[update - 1]);
                Assert.True(Math.Abs(average.Values.item<float>() - shadows[update - 1]) <= allowed, $"{setting}, update {update}: {average.Values.item<float>()}, expected {shadows[update - 1]}");
            }
        }
    }

    /// <summary>A case's setting as our rule.</summary>
    internal static MovingAverageRule Rule(JsonElement json)
    {
        GoldenTraining.RequireKnown(json, "decay", "update_after_step", "warmup", "inv_gamma", "power", "min_decay", "fixed");
        return new MovingAverageRule(GoldenTraining.Number(json, "decay", 0.9999), GoldenTraining.Flag(json, "warmup") ? AverageWarmup.Power : AverageWarmup.Ratio,
            GoldenTraining.Number(json, "inv_gamma", 1), GoldenTraining.Number(json, "power", 2.0 / 3), GoldenTraining.Number(json, "min_decay", 0), (long)GoldenTraining.Number(json, "update_after_step", 0));
    }
}
