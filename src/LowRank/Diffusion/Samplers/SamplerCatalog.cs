using LowRank.Foundation;

namespace LowRank.Diffusion.Samplers;

/// <summary>The samplers that are offered, by the names people type.</summary>
internal static class SamplerCatalog
{
    private static readonly (string Name, string Title, Func<NoiseSchedule, Sampler> Make)[] Entries =
    [
        ("ddim", "DDIM", schedule => new Ddim(schedule, new()
        {
            TimestepSpacing = schedule.Options.TimestepSpacing ?? "leading", StepsOffset = Offset(schedule),
            SetAlphaToOne = schedule.Options.SetAlphaToOne ?? true, ClipSample = schedule.Options.ClipSample ?? false,
        })),
        ("ddpm", "DDPM", schedule => new Ddpm(schedule, new() { TimestepSpacing = schedule.Options.TimestepSpacing ?? "leading", StepsOffset = Offset(schedule), ClipSample = schedule.Options.ClipSample ?? false })),
        ("euler", "Euler", schedule => new Euler(schedule, new() { TimestepSpacing = Spacing(schedule), StepsOffset = Offset(schedule) })),
        ("euler-a", "Euler a", schedule => new EulerAncestral(schedule, new() { TimestepSpacing = Spacing(schedule), StepsOffset = Offset(schedule) })),
        ("heun", "Heun", schedule => new Heun(schedule, new() { TimestepSpacing = Spacing(schedule), StepsOffset = Offset(schedule) })),
        ("dpmpp-2m", "DPM++ 2M", schedule => new DpmSolverMultistep(schedule, new() { TimestepSpacing = Spacing(schedule), StepsOffset = Offset(schedule) })),
        ("dpmpp-2m-karras", "DPM++ 2M Karras", schedule => new DpmSolverMultistep(schedule, new() { TimestepSpacing = Spacing(schedule), StepsOffset = Offset(schedule), UseKarrasSigmas = true })),
        ("unipc", "UniPC", schedule => new UniPc(schedule, new() { TimestepSpacing = Spacing(schedule), StepsOffset = Offset(schedule) })),
        ("lcm", "LCM", schedule => new Lcm(schedule, new())),
        ("pndm", "PLMS", schedule => new Pndm(schedule, new()
        {
            TimestepSpacing = schedule.Options.TimestepSpacing ?? "leading", StepsOffset = Offset(schedule),
            SetAlphaToOne = schedule.Options.SetAlphaToOne ?? false, SkipPrkSteps = true,
        })),
    ];

    /// <summary>Names in the order of the help.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Entries.Select(entry => entry.Name)];

    /// <summary>What is wrong with a name; null when nothing is.</summary>
    public static string? ProblemOf(string name)
    {
        if (Names.Contains(name)) return null;
        var near = NearestName.Of(name, Names);
        return $"{name}; must be one of {string.Join(", ", Names)}" + (near is null ? "" : $"; did you mean {near}?");
    }

    /// <summary>A sampler for a model's schedule, spread and offset as the model's own configuration asks.</summary>
    /// <exception cref="OptionsException">No such name.</exception>
    public static Sampler Make(string name, NoiseSchedule schedule) => Find(name).Make(schedule);

    /// <summary>What web UIs call it, for picture settings: "Euler a".</summary>
    public static string Title(string name) => Find(name).Title;

    private static (string Name, string Title, Func<NoiseSchedule, Sampler> Make) Find(string name) =>
        ProblemOf(name) is { } problem ? throw new OptionsException($"sampler: {problem}") : Array.Find(Entries, entry => entry.Name == name);

    private static string Spacing(NoiseSchedule schedule) => schedule.Options.TimestepSpacing ?? "linspace";

    private static int Offset(NoiseSchedule schedule) => schedule.Options.StepsOffset ?? 0;
}
