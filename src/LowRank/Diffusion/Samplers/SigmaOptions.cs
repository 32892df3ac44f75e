using LowRank.Foundation;

namespace LowRank.Diffusion.Samplers;

/// <summary>How a sampler that works in noise levels places them; names and values are those of <c>scheduler_config.json</c>.</summary>
internal record SigmaOptions
{
    /// <summary>linspace, leading or trailing.</summary>
    public string TimestepSpacing { get; init; } = "linspace";

    /// <summary>Added to every timestep of leading spacing.</summary>
    public int StepsOffset { get; init; }

    /// <summary>Spaces the levels as Karras et al. 2022.</summary>
    public bool UseKarrasSigmas { get; init; }

    /// <summary>Spaces the logarithms of the levels evenly.</summary>
    public bool UseExponentialSigmas { get; init; }

    /// <summary>Spaces the levels by Beta quantiles.</summary>
    public bool UseBetaSigmas { get; init; }

    /// <summary>Where the last step ends: zero, or sigma_min (the smallest level of training).</summary>
    public string FinalSigmasType { get; init; } = "zero";

    /// <summary>Ends at no noise.</summary>
    protected internal bool EndsAtZero => FinalSigmasType switch
    {
        "zero" => true,
        "sigma_min" => false,
        _ => throw NoiseScheduleOptions.Unsupported("final_sigmas_type", FinalSigmasType, "zero, sigma_min"),
    };

    /// <summary>The levels by formula between two ends, or null for the grid's own.</summary>
    internal double[]? Curve(double smallest, double largest, int count)
    {
        if ((UseKarrasSigmas ? 1 : 0) + (UseExponentialSigmas ? 1 : 0) + (UseBetaSigmas ? 1 : 0) > 1)
        {
            throw new OptionsException("the scheduler configuration asks for more than one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas; give one.");
        }
        if (UseKarrasSigmas) return SigmaCurve.Karras(smallest, largest, count);
        if (UseExponentialSigmas) return SigmaCurve.Exponential(smallest, largest, count);
        return UseBetaSigmas ? SigmaCurve.Beta(smallest, largest, count) : null;
    }
}
