namespace LowRank.Training;

/// <summary>
/// Dynamic loss scaling (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2, by the rule of torch.amp.GradScaler): the loss is multiplied before backward, so that
/// small gradients of half precision do not vanish, and the gradient divided before its norm is taken.
/// </summary>
/// <param name="First">The factor at the start, above 0; below 2 the first gradient that is no number ends the run.</param>
/// <param name="GrowthInterval">Good steps in a row after which the factor doubles, 1 or more.</param>
internal sealed record LossScaleRule(double First, int GrowthInterval);

/// <summary>Where a run's loss scaling stands.</summary>
/// <param name="Factor">What the loss is multiplied by.</param>
/// <param name="GoodSteps">Updates since it last changed.</param>
internal readonly record struct LossScale(double Factor, int GoodSteps = 0)
{
    /// <summary>After a step whose gradient is a number.</summary>
    public LossScale After(LossScaleRule rule) => GoodSteps + 1 < rule.GrowthInterval ? this with { GoodSteps = GoodSteps + 1 } : new LossScale(Factor * 2);

    /// <summary>After a step whose gradient is none; null where the factor is as small as it goes, so that it cannot be the cause.</summary>
    public LossScale? Smaller() => Factor < 2 ? null : new LossScale(Factor / 2);
}
