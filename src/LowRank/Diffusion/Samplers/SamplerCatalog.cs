using LowRank.Foundation;

namespace LowRank.Diffusion.Samplers;

/// <summary>The samplers that are offered, by the names that options and command line use.</summary>
internal static class SamplerCatalog
{
    private static readonly Dictionary<string, Func<NoiseSchedule, Sampler>> Factories = new()
    {
        ["ddim"] = schedule => new Ddim(schedule, new DdimOptions
        {
            TimestepSpacing = Spacing(schedule, "leading"),
            StepsOffset = Offset(schedule),
            SetAlphaToOne = schedule.Options.SetAlphaToOne ?? true,
            ClipSample = schedule.Options.ClipSample ?? false,
            ClipSampleRange = schedule.Options.ClipSampleRange ?? 1,
        }),
        ["ddpm"] = schedule => new Ddpm(schedule, new DdpmOptions
        {
            TimestepSpacing = Spacing(schedule, "leading"),
            StepsOffset = Offset(schedule),
            ClipSample = schedule.Options.ClipSample ?? false,
            ClipSampleRange = schedule.Options.ClipSampleRange ?? 1,
        }),
        ["euler"] = schedule => new Euler(schedule, new EulerOptions { TimestepSpacing = Spacing(schedule, "linspace"), StepsOffset = Offset(schedule) }),
        ["euler-a"] = schedule => new EulerAncestral(schedule, Sigmas(schedule)),
        ["heun"] = schedule => new Heun(schedule, Sigmas(schedule)),
        ["dpmpp-2m"] = schedule => new DpmSolverMultistep(schedule, Multistep(schedule)),
        ["dpmpp-2m-karras"] = schedule => new DpmSolverMultistep(schedule, Multistep(schedule) with { UseKarrasSigmas = true }),
        ["unipc"] = schedule => new UniPc(schedule, new UniPcOptions { TimestepSpacing = Spacing(schedule, "linspace"), StepsOffset = Offset(schedule) }),
        ["lcm"] = schedule => new Lcm(schedule, new LcmOptions { ClipSample = schedule.Options.ClipSample ?? false, ClipSampleRange = schedule.Options.ClipSampleRange ?? 1 }),
        ["pndm"] = schedule => new Pndm(schedule, new PndmOptions
        {
            TimestepSpacing = Spacing(schedule, "leading"),
            StepsOffset = Offset(schedule),
            SetAlphaToOne = schedule.Options.SetAlphaToOne ?? false,
            SkipPrkSteps = schedule.Options.SkipPrkSteps ?? true,
        }),
        ["dpm2"] = schedule => new Dpm2(schedule, Sigmas(schedule)),
        ["dpm2-a"] = schedule => new Dpm2Ancestral(schedule, Sigmas(schedule)),
        ["dpmpp-sde"] = schedule => new DpmSolverSde(schedule, Sigmas(schedule)),
        ["dpmpp-2m-sde"] = schedule => new DpmSolverMultistep(schedule, Multistep(schedule) with { AlgorithmType = "sde-dpmsolver++" }),
        ["lms"] = schedule => new Lms(schedule, new LmsOptions { TimestepSpacing = Spacing(schedule, "linspace"), StepsOffset = Offset(schedule) }),
        ["tcd"] = schedule => new Tcd(schedule, new TcdOptions()),
        ["deis"] = schedule => new Deis(schedule, new MultistepOptions { TimestepSpacing = Spacing(schedule, "linspace"), StepsOffset = Offset(schedule) }),
        ["dpmpp-2s"] = schedule => new DpmSolverSinglestep(schedule, new DpmSolverSinglestepOptions()),
    };

    /// <summary>Every name, the usual ones first.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Factories.Keys];

    /// <summary>What is wrong with a name, for lists of problems; null when nothing is.</summary>
    public static string? ProblemOf(string name)
    {
        if (Factories.ContainsKey(name)) return null;
        return $"{name}; must be one of {string.Join(", ", Names)}" + (NearestName.Of(name, Names) is { } near ? $"; did you mean {near}?" : "");
    }

    /// <summary>
    /// The sampler of a name. What the model's authors ask of samplers (spacing, offset, the last ᾱ) is honoured, and where they ask nothing the
    /// published default of the sampler holds; only clipping, made for pixels, is off unless they ask for it.
    /// </summary>
    /// <exception cref="OptionsException">No sampler has this name, or it cannot walk this schedule.</exception>
    public static Sampler Create(string name, NoiseSchedule schedule) => Factories.TryGetValue(name, out var factory)
        ? factory(schedule)
        : throw new OptionsException($"no sampler is named \"{name}\"{NearestName.Hint(name, Names)}; there are {string.Join(", ", Names)}");

    private static SigmaOptions Sigmas(NoiseSchedule schedule) => new() { TimestepSpacing = Spacing(schedule, "linspace"), StepsOffset = Offset(schedule) };

    private static DpmSolverMultistepOptions Multistep(NoiseSchedule schedule) => new() { TimestepSpacing = Spacing(schedule, "linspace"), StepsOffset = Offset(schedule) };

    private static string Spacing(NoiseSchedule schedule, string otherwise) => schedule.Options.TimestepSpacing ?? otherwise;

    private static int Offset(NoiseSchedule schedule) => schedule.Options.StepsOffset ?? 0;
}
