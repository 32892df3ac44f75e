using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Tests.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Training;

public class LossOptionsTests
{
    [Fact]
    public void What_does_nothing_or_cannot_be_is_refused()
    {
        Assert.Equal(
        [
            "huber_schedule, huber_c, huber_scale: do nothing without type = \"huber\" or \"smooth-l1\"",
            "soft_min_snr_gamma: 5; is another form of min_snr_gamma: 5; set one of them",
            "p2_k: 2; does nothing without p2_gamma",
        ], new LossOptions { HuberC = 0.2, MinSnrGamma = 5, SoftMinSnrGamma = 5, P2K = 2 }.Validate());
        Assert.Equal(["v_snr_gamma: 6; is another form of min_snr_gamma and soft_min_snr_gamma; set one of them"], new LossOptions { VSnrGamma = 6, SoftMinSnrGamma = 5 }.Validate());
        Assert.Equal(["huber_scale: 2; does nothing with huber_schedule = \"snr\""], new LossOptions { Type = LossType.Huber, HuberScale = 2 }.Validate());
        Assert.Equal(
        [
            "noise_offset_random_strength: true; does nothing without noise_offset",
            "adaptive_noise_scale: 0.1; does nothing without noise_offset",
            "multires_noise_discount: 0.5; does nothing without multires_noise_iterations",
            "logit_mean, logit_std: do nothing without timestep_distribution = \"logit-normal\"",
            "mode_scale: 1; does nothing without timestep_distribution = \"mode\"",
            "beta_alpha, beta_beta: do nothing without timestep_distribution = \"beta\"",
        ], new NoiseOptions { NoiseOffsetRandomStrength = true, AdaptiveNoiseScale = 0.1, MultiresNoiseDiscount = 0.5, LogitMean = 1, ModeScale = 1, BetaBeta = 3 }.Validate());
        Assert.Equal(["multires_noise_iterations: 6; does the work of noise_offset: 0.1 too; set one of them"], new NoiseOptions { NoiseOffset = 0.1, MultiresNoiseIterations = 6 }.Validate());
    }

    [Fact]
    public void What_the_model_does_not_predict_is_refused_before_a_run()
    {
        using var run = new TinyRun();
        var options = run.Options with
        {
            Loss = new LossOptions { ScaleVPredLossLikeNoisePred = true },
            Noise = new NoiseOptions { ZeroTerminalSnr = true },
        };
        var problem = Assert.Throws<OptionsException>(() => TrainLora.Plan(options));
        Assert.Equal($"""
            2 problems in the recipe for the model {TinyRun.Model}

            loss.scale_v_pred_loss_like_noise_pred  made for v prediction, which this model does not use; leave it out
            noise.zero_terminal_snr                 true; this model predicts noise, and pure noise says nothing of the picture: take a model that predicts v, or leave it out
            """.ReplaceLineEndings("\n"), problem.Message);
        options = run.Options with
        {
            Model = Path.Combine(LowRank.Testing.Repository.Root, "tests", "fixtures", "models", "pipelines", "sd2-v"),
            Loss = new LossOptions { VPredLikeLoss = 0.5 },
            Noise = new NoiseOptions { ZeroTerminalSnr = true },
        };
        problem = Assert.Throws<OptionsException>(() => TrainLora.Plan(options));
        Assert.EndsWith("\n\nloss.v_pred_like_loss  0.5; divides by 0 where the last timestep is pure noise; set noise.max_timestep = 998", problem.Message, StringComparison.Ordinal);
    }
}
