using LowRank.Training;

namespace LowRank.Tests.Training;

public class LearningRateScheduleTests
{
    [Theory]
    [InlineData(LearningRateShape.Constant, 1.0, 1.0)]
    [InlineData(LearningRateShape.Linear, 0.5, 0.0)]
    [InlineData(LearningRateShape.Cosine, 0.5, 0.0)]
    [InlineData(LearningRateShape.CosineWithRestarts, 1.0, 0.0)]
    [InlineData(LearningRateShape.Polynomial, 0.325, 0.1)]
    [InlineData(LearningRateShape.InverseSqrt, 0.53452248382484879, 0.40824829046386307)]   // √(4 / 14), √(4 / 24)
    [InlineData(LearningRateShape.Rex, 0.5 / 0.55, 0.0)]
    [InlineData(LearningRateShape.WarmupStableDecay, 1.0, 0.0)]
    [InlineData(LearningRateShape.PiecewiseConstant, 0.5, 0.25)]
    public void Every_shape_warms_up_and_then_falls_in_its_own_way(LearningRateShape shape, double middle, double end)
    {
        var ratio = shape == LearningRateShape.Polynomial ? 0.1 : 0;
        var schedule = new ScheduleOptions(shape, TotalSteps: 24, WarmupSteps: 4) { Cycles = 2, Power = 2, EndRatio = ratio, DecaySteps = 8, StepRules = "1:14,0.5:20,0.25" }.Make();
        Assert.Equal([0, 0.25, 0.5, 0.75, 1], Enumerable.Range(0, 5).Select(step => schedule.Multiplier(step)));
        Assert.Equal(middle, schedule.Multiplier(14), 1e-12);
        Assert.Equal(end, schedule.Multiplier(24), 1e-12);
    }

    [Fact]
    public void The_factor_depends_on_the_step_alone()
    {
        var schedule = new ScheduleOptions(LearningRateShape.Cosine, TotalSteps: 10).Make();
        var forwards = Enumerable.Range(0, 10).Select(step => schedule.Multiplier(step)).ToArray();
        var backwards = Enumerable.Range(0, 10).Reverse().Select(step => schedule.Multiplier(step)).Reverse().ToArray();
        Assert.Equal(forwards, backwards);
    }

    [Theory]
    [InlineData(0.3)]
    [InlineData(0.0)]
    [InlineData(1.0)]
    [InlineData(0.1)]   // its top falls on step 0
    public void One_cycle_rises_to_the_full_rate_and_stays_a_number(double rising)
    {
        var schedule = new ScheduleOptions(LearningRateShape.OneCycle, TotalSteps: 10) { RisingPart = rising }.Make();
        var factors = Enumerable.Range(0, 10).Select(step => schedule.Multiplier(step)).ToArray();
        Assert.All(factors, factor => Assert.InRange(factor, 4e-6, 1));
        Assert.InRange(factors.Max(), 0.9, 1);
    }

    [Theory]
    [InlineData("1:10,0.1:20,0.01", true)]
    [InlineData("0.5", true)]
    [InlineData("", false)]
    [InlineData("1:10", false)]
    [InlineData("1,0.1", false)]
    [InlineData("1:20,0.1:10,0.01", false)]
    [InlineData("-1:10,0.1", false)]
    [InlineData("1:ten,0.1", false)]
    public void Step_rules_are_factors_with_rising_ends_and_a_last_factor(string rules, bool good) => Assert.Equal(good, ScheduleOptions.ReadRules(rules) is not null);
}
