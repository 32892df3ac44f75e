using System.Text.Json;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

public class LearningRateScheduleGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("lr_schedules");

    [Theory, MemberData(nameof(Cases))]
    public void Every_schedule_has_the_factors_of_the_libraries(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var table in golden.Json.GetProperty("tables").EnumerateArray())
        {
            var json = table.GetProperty("schedule");
            var schedule = GoldenTraining.Schedule(json, GoldenTraining.Number(json, "base_lr", 1));
            var expected = table.GetProperty("multipliers").EnumerateArray().Select(item => item.GetDouble()).ToArray();
            AssertClose(golden.Json, expected, [.. expected.Select((_, step) => schedule.Multiplier(step))], json.GetRawText());
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Each_programs_count_of_scheduler_steps_gives_the_factors_that_its_updates_use(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var usage in golden.Json.GetProperty("usage").EnumerateArray())
        {
            var schedule = GoldenTraining.Schedule(usage.GetProperty("schedule"), baseRate: 1);
            var steps = usage.GetProperty("scheduler_steps_before_update").EnumerateArray().Select(item => item.GetInt64());
            var expected = usage.GetProperty("multipliers").EnumerateArray().Select(item => item.GetDouble()).ToArray();
            AssertClose(golden.Json, expected, [.. steps.Select(schedule.Multiplier)], usage.GetProperty("rule").GetString()!);
        }
    }

    private static void AssertClose(JsonElement golden, double[] expected, double[] actual, string label)
    {
        var tolerance = golden.GetProperty("tolerance").GetProperty("multipliers");
        var (rtol, atol) = (tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble());
        Assert.Equal(expected.Length, actual.Length);
        for (var step = 0; step < expected.Length; step++)
        {
            Assert.True(Math.Abs(actual[step] - expected[step]) <= atol + rtol * Math.Abs(expected[step]), $"{label}, step {step}: {actual[step]:R}, expected {expected[step]:R}");
        }
    }
}
