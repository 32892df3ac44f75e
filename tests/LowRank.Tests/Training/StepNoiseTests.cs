using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

public class StepNoiseTests
{
    private static readonly NoiseSchedule Schedule = new(new() { BetaSchedule = "scaled_linear", BetaStart = 0.00085, BetaEnd = 0.012, PredictionType = "v_prediction" });

    [Fact]
    public void A_noise_offset_shifts_whole_channels_and_leaves_the_noise_itself_as_drawn()
    {
        using var scope = NewDisposeScope();
        var shift = Noise(new NoiseOptions { NoiseOffset = 0.1 }) - Noise(new NoiseOptions());
        TensorAssert.Close(shift[.., .., ..1, ..1].expand(2, 4, 8, 8), shift, 0, 1e-6);
        Assert.InRange(shift.std().item<float>(), 0.01f, 0.3f);
    }

    [Fact]
    public void A_random_strength_scales_the_offset_of_a_whole_batch_down()
    {
        using var scope = NewDisposeScope();
        var whole = Noise(new NoiseOptions { NoiseOffset = 0.1 }) - Noise(new NoiseOptions());
        var part = Noise(new NoiseOptions { NoiseOffset = 0.1, NoiseOffsetRandomStrength = true }) - Noise(new NoiseOptions());
        var factor = (part.abs().sum() / whole.abs().sum()).item<float>();
        Assert.InRange(factor, 0.001f, 0.999f);
        TensorAssert.Close(whole.Times(factor), part, 0, 1e-6);
    }

    [Fact]
    public void Multi_resolution_noise_has_a_deviation_of_one_and_is_smoother()
    {
        using var scope = NewDisposeScope();
        var noise = Noise(new NoiseOptions { MultiresNoiseIterations = 6, MultiresNoiseDiscount = 0.8 });
        Assert.Equal(1f, noise.std().item<float>(), 1e-5f);
        float Roughness(Tensor of) => (of[.., .., .., 1..] - of[.., .., .., ..^1]).Squared().mean().item<float>();
        Assert.True(Roughness(noise) < 0.9f * Roughness(Noise(new NoiseOptions())));
    }

    [Fact]
    public void A_perturbation_has_a_stream_of_its_own_and_the_deviation_that_is_asked_for()
    {
        using var scope = NewDisposeScope();
        using var streams = new RandomStreams(7);
        var drawn = new StepNoise(new NoiseOptions { IpNoiseGamma = 0.1 }, Schedule, streams).Draw(zeros(2, 4, 8, 8));
        TensorAssert.Close(Noise(new NoiseOptions()), drawn.Noise, 0, 0);
        Assert.InRange(drawn.Perturbation!.std().item<float>(), 0.08f, 0.12f);
    }

    [Fact]
    public void Zero_terminal_snr_ends_the_schedule_in_pure_noise_and_leaves_one_that_does_as_it_is()
    {
        var rescaled = new NoiseOptions { ZeroTerminalSnr = true }.ScheduleFor(Schedule);
        Assert.Equal(0f, rescaled.AlphasCumprod[^1]);
        Assert.Same(rescaled, new NoiseOptions { ZeroTerminalSnr = true }.ScheduleFor(rescaled));
        Assert.Same(Schedule, new NoiseOptions().ScheduleFor(Schedule));
    }

    /// <summary>Shares below a quarter, half and three quarters of the range, from the distributions' own formulas.</summary>
    [Theory]
    [InlineData(TimestepDistribution.Uniform, 0.25, 0.5, 0.75)]
    [InlineData(TimestepDistribution.LogitNormal, 0.0228, 0.2660, 0.7728)]   // Φ((logit(u) − 0.5)/0.8)
    [InlineData(TimestepDistribution.Beta, 0.0508, 0.3125, 0.7383)]          // I_u(3, 2) = u³(4 − 3u)
    public void Timesteps_are_drawn_as_often_as_their_distribution_says(TimestepDistribution kind, double quarter, double half, double threeQuarters)
    {
        using var streams = new RandomStreams(3);
        var sampler = new NoiseOptions { MinTimestep = 100, MaxTimestep = 899, TimestepDistribution = kind, LogitMean = 0.5, LogitStd = 0.8, BetaAlpha = 3, BetaBeta = 2 }.SamplerFor(Schedule);
        var drawn = sampler.Draw(40_000, streams["timestep"]);
        Assert.All(drawn, timestep => Assert.InRange(timestep, 100, 899));
        foreach (var (end, expected) in new[] { (300, quarter), (500, half), (700, threeQuarters) }) Assert.Equal(expected, drawn.Count(timestep => timestep < end) / 40_000.0, 0.01);
    }

    /// <summary>The timestep for a drawn number, computed by the formulas that the distributions' docs state.</summary>
    [Theory]
    [InlineData(TimestepDistribution.Mode, 0.0, 999)]
    [InlineData(TimestepDistribution.Mode, 0.25, 616)]
    [InlineData(TimestepDistribution.Mode, 0.4, 529)]
    [InlineData(TimestepDistribution.Mode, 0.9991, 2)]
    [InlineData(TimestepDistribution.LogitNormal, -2.1, 201)]
    [InlineData(TimestepDistribution.LogitNormal, 0.9, 734)]
    [InlineData(TimestepDistribution.LogitNormal, 60.0, 999)]
    public void A_drawn_number_stands_for_one_timestep(TimestepDistribution kind, double number, long expected) =>
        Assert.Equal(expected, new NoiseOptions { TimestepDistribution = kind, LogitMean = 0.3, LogitStd = 0.8 }.SamplerFor(Schedule).Timestep(number));

    [Fact]
    public void Log_cosh_is_square_near_zero_straight_far_away_and_never_overflows()
    {
        using var scope = NewDisposeScope();
        var difference = tensor(new[] { 0f, 0.01f, -1f, 200f, -200f }, [1, 1, 1, 5]);
        var loss = new ElementLoss(LossType.LogCosh, HuberSchedule.Snr, 0.1, 1).Of(difference, zeros_like(difference), Schedule, [0]);
        TensorAssert.Close(tensor(new[] { 0f, 0.00005f, 0.4337808f, 199.30685f, 199.30685f }, [1, 1, 1, 5]), loss, 1e-5, 1e-7);
    }

    [Fact]
    public void Drawing_leaves_no_tensor_behind()
    {
        using var scope = NewDisposeScope();
        using var streams = new RandomStreams(7);
        var latents = zeros(2, 4, 8, 8);
        var noise = new StepNoise(new NoiseOptions { NoiseOffset = 0.1, AdaptiveNoiseScale = 1, NoiseOffsetRandomStrength = true, IpNoiseGamma = 0.1 }, Schedule, streams);
        var levels = new StepNoise(new NoiseOptions { MultiresNoiseIterations = 6 }, Schedule, streams);
        LeakGuard.AssertNothingLeft(() =>
        {
            foreach (var source in new[] { noise, levels })
            {
                var drawn = source.Draw(latents);
                drawn.Noise.Dispose();
                drawn.Perturbation?.Dispose();
            }
        });
    }

    private static Tensor Noise(NoiseOptions options)
    {
        using var streams = new RandomStreams(7);
        return new StepNoise(options, Schedule, streams).Draw(zeros(2, 4, 8, 8)).Noise;
    }
}
