using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Diffusion;

public class TrainingTargetTests
{
    private static readonly NoiseSchedule Schedule = new(new() { BetaSchedule = "scaled_linear", BetaStart = 0.00085, BetaEnd = 0.012 });

    [Theory]
    [InlineData(PredictionType.Epsilon)]
    [InlineData(PredictionType.VPrediction)]
    [InlineData(PredictionType.Sample)]
    public void The_target_is_the_prediction_that_gives_the_latents_back(PredictionType type)
    {
        using var scope = NewDisposeScope();
        var latents = Formula.Noise("latents", [2, 4, 3, 5], 1);
        var noise = Formula.Noise("noise", [2, 4, 3, 5], 1);
        var (noisy, target) = TrainingTarget.Of(Schedule, type, latents, noise, [400, 400]);
        var bar = (double)Schedule.AlphasCumprod[400];
        TensorAssert.Close(latents, Predictions.ToSample(type, noisy, target, Math.Sqrt(bar), Math.Sqrt(1 - bar)), 1e-5, 1e-5);
    }

    [Fact]
    public void Flow_prediction_is_refused_in_training()
    {
        using var scope = NewDisposeScope();
        var latents = zeros(1, 4, 2, 2);
        var error = Assert.Throws<OptionsException>(() => TrainingTarget.Of(Schedule, PredictionType.Flow, latents, latents, [1]));
        Assert.Equal("prediction_type is \"flow_prediction\" in the scheduler configuration, which is not supported. " +
            "Supported: epsilon, v_prediction, sample in training.", error.Message);
    }

    [Fact]
    public void Timesteps_are_drawn_from_the_whole_range_and_from_no_other()
    {
        using var streams = new RandomStreams(3);
        var drawn = TimestepSampler.Range(Schedule, 10, 14).Draw(400, streams["timestep"]);
        Assert.Equal([10L, 11, 12, 13], drawn.Distinct().Order());
        Assert.Equal(1000, TimestepSampler.All(Schedule).End);
    }

    [Fact]
    public void An_impossible_range_of_timesteps_is_refused()
    {
        var error = Assert.Throws<OptionsException>(() => TimestepSampler.Range(Schedule, 600, 1001));
        Assert.Equal("timesteps from 600 to below 1001 are no range of this model's 0 to below 1000; give a smaller start or a larger end.", error.Message);
        Assert.Throws<OptionsException>(() => TimestepSampler.Range(Schedule, 5, 5));
        Assert.Throws<OptionsException>(() => TimestepSampler.Range(Schedule, -1, 5));
    }

    [Fact]
    public void Weights_that_do_not_fit_the_prediction_are_named()
    {
        var weighting = new LossWeighting { MinSnrGamma = 0, MinSnrPlusOneForV = true, P2Gamma = 1, ScaleVLikeNoise = true, DebiasedEstimation = true };
        Assert.Equal(
        [
            "min_snr_gamma: 0; must be above 0",
            "min_snr_plus_one_for_v: made for v prediction, which this model does not use; leave it out",
            "p2_gamma: made for noise prediction, which this model does not use; leave it out",
            "scale_v_pred_loss_like_noise_pred: made for v prediction, which this model does not use; leave it out",
            "debiased_estimation: made for noise and v prediction, which this model does not use; leave it out",
        ], weighting.Problems(PredictionType.Sample));
        Assert.Equal(["soft_min_snr_gamma: -1; must be above 0"], new LossWeighting { SoftMinSnrGamma = -1 }.Problems(PredictionType.Epsilon));
    }

    [Theory]
    [InlineData(0f, 1f)]
    [InlineData(5f, 1f)]
    [InlineData(11f, 0.5f)]
    public void The_v_snr_weight_leaves_noisy_timesteps_whole_and_caps_clean_ones(float snr, float expected)
    {
        Assert.Equal(expected, new LossWeighting { VSnrGamma = 6 }.Weight(snr, PredictionType.VPrediction));
        Assert.Equal(["v_snr_gamma: made for v prediction, which this model does not use; leave it out"], new LossWeighting { VSnrGamma = 6 }.Problems(PredictionType.Epsilon));
    }

    [Theory]
    [InlineData(0.5f, 0.5f)]
    [InlineData(50f, 5f)]
    public void Min_snr_weighs_a_sample_prediction_by_the_capped_ratio(float snr, float expected) =>
        Assert.Equal(expected, new LossWeighting { MinSnrGamma = 5 }.Weight(snr, PredictionType.Sample));

    [Fact]
    public void No_weighting_weighs_every_item_alike() => Assert.Equal(1f, LossWeighting.None.Weight(0, PredictionType.Epsilon));

    [Fact]
    public void Making_targets_and_guiding_leave_no_tensor_behind()
    {
        using var scope = NewDisposeScope();
        var latents = Formula.Noise("latents", [2, 4, 3, 5], 1);
        LeakGuard.AssertNothingLeft(() =>
        {
            foreach (var type in new[] { PredictionType.Epsilon, PredictionType.VPrediction, PredictionType.Sample })
            {
                var (noisy, target) = TrainingTarget.Of(Schedule, type, latents, latents, [1, 2]);
                noisy.Dispose();
                target.Dispose();
            }
            new Guidance(3, 0.5).Combine(latents, latents).Dispose();
        });
    }
}
