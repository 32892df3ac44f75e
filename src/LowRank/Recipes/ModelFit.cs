using LowRank.Diffusion;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>What of a recipe only the model can tell: options that its prediction or its channels cannot honour.</summary>
internal static class ModelFit
{
    /// <summary>Refuses a recipe that does not go with its model.</summary>
    /// <exception cref="OptionsException">Lists every problem.</exception>
    public static void Require(IRunOptions options, IDiffusionFamily family)
    {
        RunOptions.ThrowIfAny([.. Problems(options, family)], $"the recipe for the model {options.Model}");
    }

    private static IEnumerable<string> Problems(IRunOptions options, IDiffusionFamily family)
    {
        if (OfHoles(options, family) is { } misfit) yield return misfit;
        var measures = options.Validation.Share > 0 || options.Data.Any(set => set.HeldOut);
        var beyond = options.Validation.Timesteps.Where(timestep => timestep >= family.Schedule.Timesteps).ToList();
        if (measures && beyond.Count > 0) yield return FormattableString.Invariant($"validation.timesteps: {string.Join(", ", beyond)}; this model has 0 to {family.Schedule.Timesteps - 1}");
        foreach (var problem in options.Loss.Weighting.Problems(family.PredictionType)) yield return "loss." + problem;
        var schedule = options.Noise.ScheduleFor(family.Schedule);
        if (schedule.AlphasCumprod[^1] != 0) yield break;
        if (options.Noise.ZeroTerminalSnr && family.PredictionType == PredictionType.Epsilon)
        {
            yield return "noise.zero_terminal_snr: true; this model predicts noise, and pure noise says nothing of the picture: take a model that predicts v, or leave it out";
        }
        else if (options.Loss.VPredLikeLoss > 0 && options.Noise.MaxTimestep == schedule.Timesteps - 1)
        {
            yield return $"loss.v_pred_like_loss: {FormattableString.Invariant($"{options.Loss.VPredLikeLoss}")}; divides by 0 where the last timestep is pure noise; set noise.max_timestep = {schedule.Timesteps - 2}";
        }
    }

    private static string? OfHoles(IRunOptions options, IDiffusionFamily family)
    {
        var inpaints = family.Inpaints;
        if (inpaints == options.Inpainting is not null) return null;
        return inpaints
            ? FormattableString.Invariant($"inpainting: not set; {family.Name} has {family.DenoiserChannels} input channels, for pictures with holes: add an [inpainting] table, or take the model it was made from")
            : FormattableString.Invariant($"inpainting: {family.Name} has {family.DenoiserChannels} input channels and sees no holes: leave the [inpainting] table out, take an inpainting model, which has {2 * family.LatentChannels + 1}, or make one: method = \"full\" with widen = true");
    }
}
