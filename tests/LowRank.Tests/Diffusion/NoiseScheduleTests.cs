using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Diffusion;

public class NoiseScheduleTests
{
    private static readonly NoiseScheduleOptions StableDiffusion = new() { BetaSchedule = "scaled_linear", BetaStart = 0.00085, BetaEnd = 0.012 };

    [Fact]
    public void An_unknown_beta_schedule_is_refused_by_name()
    {
        var error = Assert.Throws<OptionsException>(() => new NoiseSchedule(new() { BetaSchedule = "exp" }));
        Assert.Equal("beta_schedule is \"exp\" in the scheduler configuration, which is not supported. " +
            "Supported: linear, scaled_linear, squaredcos_cap_v2, sigmoid, laplace.", error.Message);
    }

    [Fact]
    public void An_unknown_prediction_type_is_refused_by_name()
    {
        var error = Assert.Throws<OptionsException>(() => new NoiseSchedule(new() { PredictionType = "score" }));
        Assert.Equal("prediction_type is \"score\" in the scheduler configuration, which is not supported. " +
            "Supported: epsilon, v_prediction, sample, flow_prediction.", error.Message);
    }

    [Fact]
    public void Impossible_numbers_are_listed_together()
    {
        var error = Assert.Throws<OptionsException>(() => new NoiseSchedule(new() { NumTrainTimesteps = 1, BetaStart = 0, BetaEnd = 1.5 }));
        Assert.Equal("the scheduler configuration describes no noise schedule:\n" +
            "num_train_timesteps is 1; expected 2 or more\nbeta_start is 0; expected between 0 and 1\nbeta_end is 1.5; expected between 0 and 1", error.Message);
    }

    [Fact]
    public void Given_betas_replace_the_formula()
    {
        var schedule = new NoiseSchedule(new() { NumTrainTimesteps = 3, TrainedBetas = [0.1, 0.2, 0.3] });
        Assert.Equal([0.1f, 0.2f, 0.3f], schedule.Betas.ToArray());
        Assert.Equal(0.9f * 0.8f * 0.7f, schedule.AlphasCumprod[2], 1e-6f);
        var error = Assert.Throws<OptionsException>(() => new NoiseSchedule(new() { NumTrainTimesteps = 3, TrainedBetas = [0.1, 1.2] }));
        Assert.Equal("the scheduler configuration describes no noise schedule:\n" +
            "trained_betas is 2; expected num_train_timesteps values\ntrained_betas is 1.2; expected values between 0 and 1", error.Message);
    }

    [Fact]
    public void Zero_terminal_snr_ends_at_exactly_no_signal()
    {
        var schedule = new NoiseSchedule(StableDiffusion with { RescaleBetasZeroSnr = true });
        Assert.Equal(0f, schedule.AlphasCumprod[999]);
        Assert.Equal(0f, schedule.Snr(999));
        Assert.Equal(4096f, schedule.Sigmas[999], 1f);
        Assert.Equal(new NoiseSchedule(StableDiffusion).AlphasCumprod[0], schedule.AlphasCumprod[0], 1e-6f);
    }

    [Fact]
    public void A_timestep_outside_the_table_is_refused()
    {
        using var scope = NewDisposeScope();
        var schedule = new NoiseSchedule(StableDiffusion);
        var latents = zeros(1, 4, 2, 2);
        Assert.Throws<ArgumentOutOfRangeException>(() => schedule.AddNoise(latents, latents, [1000]));
        Assert.Throws<ArgumentOutOfRangeException>(() => schedule.Snr(-1));
        Assert.Throws<ArgumentException>(() => schedule.AddNoise(latents, latents, [1, 2]));
    }

    [Theory]
    [InlineData(PredictionType.Epsilon)]
    [InlineData(PredictionType.VPrediction)]
    [InlineData(PredictionType.Sample)]
    [InlineData(PredictionType.Flow)]
    public void A_perfect_prediction_gives_back_latents_and_noise(PredictionType type)
    {
        using var scope = NewDisposeScope();
        var latents = Formula.Noise("latents", [2, 4, 3, 5], 1);
        var noise = Formula.Noise("noise", [2, 4, 3, 5], 1);
        const double sigma = 0.6;
        var alpha = type == PredictionType.Flow ? 1 - sigma : 0.8;
        var noisy = latents.Times(alpha).Plus(noise.Times(sigma));
        var output = type switch
        {
            PredictionType.Epsilon => noise,
            PredictionType.VPrediction => noise.Times(alpha) - latents.Times(sigma),
            PredictionType.Sample => latents,
            _ => noise - latents,
        };
        TensorAssert.Close(latents, Predictions.ToSample(type, noisy, output, alpha, sigma), 0, 1e-6);
        TensorAssert.Close(noise, Predictions.ToNoise(type, noisy, output, alpha, sigma), 0, 1e-6);
    }

    [Fact]
    public void Noising_leaves_no_tensor_behind()
    {
        using var scope = NewDisposeScope();
        var schedule = new NoiseSchedule(StableDiffusion);
        var latents = Formula.Noise("latents", [2, 4, 3, 5], 1);
        LeakGuard.AssertNothingLeft(() =>
        {
            schedule.AddNoise(latents, latents, [3, 900]).Dispose();
            schedule.Velocity(latents, latents, [3, 900]).Dispose();
        });
    }
}
