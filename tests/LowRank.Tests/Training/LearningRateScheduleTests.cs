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
    public void Every_shape_warms_up_and_then_falls_in_its_own_way(LearningRateShape shape, double middle, double end)
    {
        var schedule = LearningRateSchedule.Of(shape, totalSteps: 24, warmupSteps: 4, cycles: 2, power: 2, endRatio: 0.1);
        Assert.Equal([0, 0.25, 0.5, 0.75, 1], Enumerable.Range(0, 5).Select(step => schedule.Multiplier(step)));
        Assert.Equal(middle, schedule.Multiplier(14), 1e-12);
        Assert.Equal(end, schedule.Multiplier(24), 1e-12);
    }

    [Fact]
    public void The_factor_depends_on_the_step_alone()
    {
        var schedule = LearningRateSchedule.Of(LearningRateShape.Cosine, totalSteps: 10);
        var forwards = Enumerable.Range(0, 10).Select(step => schedule.Multiplier(step)).ToArray();
        var backwards = Enumerable.Range(0, 10).Reverse().Select(step => schedule.Multiplier(step)).Reverse().ToArray();
        Assert.Equal(forwards, backwards);
    }
}
