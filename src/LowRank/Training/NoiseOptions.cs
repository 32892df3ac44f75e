using System.Globalization;
using LowRank.Diffusion;

namespace LowRank.Training;

/// <summary>Which noise is trained on, and which timesteps: the recipe's <c>[noise]</c>.</summary>
public sealed record NoiseOptions
{
    /// <summary>Shifts the noise of each channel by this times a normal number, so that very dark and very light pictures can be learned; 0.05 is usual, 0 is off.</summary>
    public double NoiseOffset { get; init; }

    /// <summary>Whether every forward pass draws its own offset between 0 and <see cref="NoiseOffset"/>.</summary>
    public bool NoiseOffsetRandomStrength { get; init; }

    /// <summary>Adds this times the absolute mean of each latent channel to the offset, so that pictures far from grey get more; 0 is off.</summary>
    public double AdaptiveNoiseScale { get; init; }

    /// <summary>Levels of multi-resolution (pyramid) noise, coarser and coarser; 6 to 10 is usual, 0 is off.</summary>
    public int MultiresNoiseIterations { get; init; }

    /// <summary>Weight of each level against the one before; above 0, below 1.</summary>
    public double MultiresNoiseDiscount { get; init; } = 0.3;

    /// <summary>Input perturbation: noise that the model sees and is not asked for (Ning et al. 2023); 0.1 is usual, 0 is off.</summary>
    public double IpNoiseGamma { get; init; }

    /// <summary>Rescales the schedule so that the last timestep is pure noise (Lin et al. 2023). For models that predict v.</summary>
    public bool ZeroTerminalSnr { get; init; }

    /// <summary>First timestep that is trained, 0…999.</summary>
    public int MinTimestep { get; init; }

    /// <summary>Last timestep that is trained, 0…999.</summary>
    public int MaxTimestep { get; init; } = 999;

    /// <summary>How often timesteps of the range are drawn.</summary>
    public TimestepDistribution TimestepDistribution { get; init; } = TimestepDistribution.Uniform;

    /// <summary><c>logit-normal</c>: mean of the normal number; above 0 draws noisier timesteps more often.</summary>
    public double LogitMean { get; init; }

    /// <summary><c>logit-normal</c>: its deviation; above 0. Smaller draws the middle more often.</summary>
    public double LogitStd { get; init; } = 1;

    /// <summary><c>mode</c>: 0 is uniform, more draws the middle more often, up to 1.75.</summary>
    public double ModeScale { get; init; } = 1.29;

    /// <summary><c>beta</c>: first exponent; above 0. More than <see cref="BetaBeta"/> draws noisier timesteps more often.</summary>
    public double BetaAlpha { get; init; } = 2;

    /// <summary><c>beta</c>: second exponent; above 0.</summary>
    public double BetaBeta { get; init; } = 2;

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(NoiseOffset is >= 0 and < double.PositiveInfinity, $"noise_offset: {NoiseOffset}; must be 0 (off) or more");
        Check(AdaptiveNoiseScale is >= 0 and < double.PositiveInfinity, $"adaptive_noise_scale: {AdaptiveNoiseScale}; must be 0 (off) or more");
        Check(MultiresNoiseIterations >= 0, $"multires_noise_iterations: {MultiresNoiseIterations}; must be 0 (off) or more");
        Check(MultiresNoiseDiscount is > 0 and < 1, $"multires_noise_discount: {MultiresNoiseDiscount}; must be above 0 and below 1");
        Check(IpNoiseGamma is >= 0 and < double.PositiveInfinity, $"ip_noise_gamma: {IpNoiseGamma}; must be 0 (off) or more");
        Check(MinTimestep is >= 0 && MaxTimestep <= 999 && MinTimestep <= MaxTimestep, $"min_timestep: {MinTimestep} to max_timestep {MaxTimestep}; must be a range within 0 to 999");
        Check(double.IsFinite(LogitMean), $"logit_mean: {LogitMean}; must be a number");
        Check(LogitStd is > 0 and < double.PositiveInfinity, $"logit_std: {LogitStd}; must be a number above 0");
        Check(ModeScale is >= 0 and <= 1.75, $"mode_scale: {ModeScale}; must be from 0 to 1.75");
        Check(BetaAlpha is > 0 and < double.PositiveInfinity, $"beta_alpha: {BetaAlpha}; must be a number above 0");
        Check(BetaBeta is > 0 and < double.PositiveInfinity, $"beta_beta: {BetaBeta}; must be a number above 0");
        CheckCombinations(Check);
        return problems;
    }

    private delegate void Checking(bool good, FormattableString problem);

    /// <summary>A value that was set for what is not in use would do nothing, and nobody would know.</summary>
    private void CheckCombinations(Checking check)
    {
        var usual = new NoiseOptions();
        check(NoiseOffset > 0 || !NoiseOffsetRandomStrength, $"noise_offset_random_strength: true; does nothing without noise_offset");
        check(NoiseOffset > 0 || AdaptiveNoiseScale == 0, $"adaptive_noise_scale: {AdaptiveNoiseScale}; does nothing without noise_offset");
        check(NoiseOffset == 0 || MultiresNoiseIterations == 0, $"multires_noise_iterations: {MultiresNoiseIterations}; does the work of noise_offset: {NoiseOffset} too; set one of them");
        check(MultiresNoiseIterations > 0 || MultiresNoiseDiscount == usual.MultiresNoiseDiscount, $"multires_noise_discount: {MultiresNoiseDiscount}; does nothing without multires_noise_iterations");
        check(TimestepDistribution == TimestepDistribution.LogitNormal || (LogitMean, LogitStd) == (usual.LogitMean, usual.LogitStd), $"logit_mean, logit_std: do nothing without timestep_distribution = \"logit-normal\"");
        check(TimestepDistribution == TimestepDistribution.Mode || ModeScale == usual.ModeScale, $"mode_scale: {ModeScale}; does nothing without timestep_distribution = \"mode\"");
        check(TimestepDistribution == TimestepDistribution.Beta || (BetaAlpha, BetaBeta) == (usual.BetaAlpha, usual.BetaBeta), $"beta_alpha, beta_beta: do nothing without timestep_distribution = \"beta\"");
    }

    /// <summary>The schedule that is trained with.</summary>
    /// <param name="schedule">The model's own.</param>
    internal NoiseSchedule ScheduleFor(NoiseSchedule schedule) =>
        ZeroTerminalSnr && !schedule.Options.RescaleBetasZeroSnr ? new NoiseSchedule(schedule.Options with { RescaleBetasZeroSnr = true }) : schedule;

    /// <summary>Draws the timesteps.</summary>
    /// <exception cref="LowRank.Foundation.OptionsException">The schedule has no such range.</exception>
    internal TimestepSampler SamplerFor(NoiseSchedule schedule) => TimestepSampler.Range(schedule, MinTimestep, MaxTimestep + 1) with
    {
        Distribution = TimestepDistribution,
        LogitMean = LogitMean,
        LogitStd = LogitStd,
        ModeScale = ModeScale,
        BetaAlpha = BetaAlpha,
        BetaBeta = BetaBeta,
    };
}
