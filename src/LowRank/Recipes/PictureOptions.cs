using System.Globalization;
using LowRank.Diffusion.Samplers;
using LowRank.Text;

namespace LowRank.Recipes;

/// <summary>What a picture should show and how it is drawn, whatever draws it.</summary>
public record PictureOptions
{
    /// <summary>What the picture should show.</summary>
    public required string Prompt { get; init; }

    /// <summary>What it should not show. Unset: the family's empty prompt.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>What brackets in prompts mean, and what becomes of prompts that are longer than the model's window.</summary>
    public PromptWeights PromptWeights { get; init; } = PromptWeights.A1111;

    /// <summary>Way of walking back from noise.</summary>
    public string Sampler { get; init; } = "ddim";

    /// <summary>Sampler steps; time grows with it.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Guidance scale (Ho and Salimans 2022): how strongly the prompt rules; 1 is off and halves the time.</summary>
    public double Guidance { get; init; } = 5;

    /// <summary>Pulls guided pictures back to the contrast of unguided ones (Lin et al. 2023, §3.4); 0 is off, 0.7 is usual.</summary>
    public double GuidanceRescale { get; init; }

    /// <summary>Which layer of the text encoders the model reads, counted from the end: 1 the last, as usual; as <c>training.clip_skip</c> of a recipe.</summary>
    public int ClipSkip { get; init; } = 1;

    /// <summary>Seed of the picture; of several, the next ones count up.</summary>
    public long Seed { get; init; }

    /// <summary>Pixels. Unset: what the model was made for, or the size of <see cref="Image"/>.</summary>
    public int? Width { get; init; }

    /// <summary>Pixels. Unset: what the model was made for, or the size of <see cref="Image"/>.</summary>
    public int? Height { get; init; }

    /// <summary>A picture to start from.</summary>
    public string? Image { get; init; }

    /// <summary>How much of the start picture is replaced: 0 nothing, 1 all.</summary>
    public double NoiseStrength { get; init; } = 0.75;

    /// <summary>A picture that is white where <see cref="Image"/> shall be painted anew.</summary>
    public string? Mask { get; init; }

    /// <summary>All problems of these options, each as <c>option: what is wrong</c>; empty when there is none.</summary>
    public virtual IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(Steps >= 1, $"steps: {Steps}; must be 1 or more");
        Check(ClipSkip >= 1, $"clip-skip: {ClipSkip}; must be 1 (the last layer) or more");
        Check(Guidance is >= 1 and < double.PositiveInfinity, $"guidance: {Guidance}; must be 1 (off) or more");
        Check(GuidanceRescale is >= 0 and <= 1, $"guidance-rescale: {GuidanceRescale}; must be between 0 (off) and 1");
        Check(NoiseStrength is > 0 and <= 1, $"noise-strength: {NoiseStrength}; must be above 0, up to 1");
        Check(Mask is null || Image is not null, $"mask: needs a picture to paint on; give --image too");
        Check(Width is null or > 0, $"width: {Width}; must be 1 or more pixels");
        Check(Height is null or > 0, $"height: {Height}; must be 1 or more pixels");
        Check(NegativePrompt is null || !PromptTags.IsIn(NegativePrompt), $"negative-prompt: it names an adapter, which only prompts can; write the tag in the prompt, with a strength below 0 to take away");
        if (SamplerCatalog.ProblemOf(Sampler) is { } problem) problems.Add($"sampler: {problem}");
        if (PromptWeights == PromptWeights.None) return problems;
        foreach (var (name, text) in new[] { ("prompt", Prompt), ("negative-prompt", NegativePrompt) })
        {
            if (text is not null && WeightedPrompt.Unsupported(text) is { } unsupported) problems.Add($"{name}: {unsupported}");
        }
        return problems;
    }
}

/// <summary>How prompts are read.</summary>
public enum PromptWeights
{
    /// <summary>
    /// As AUTOMATIC1111's web UI does, and what is made for it expects: <c>(word)</c> counts 1.1 times, <c>(word:1.3)</c> 1.3 times, <c>[word]</c> 1/1.1 times,
    /// <c>BREAK</c> begins another chunk; long prompts are read in chunks. A backslash before a bracket makes it text.
    /// </summary>
    A1111,

    /// <summary>As they stand, brackets included, and cut where the model's window ends, as diffusers does.</summary>
    None,
}
