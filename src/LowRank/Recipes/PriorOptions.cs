using System.Globalization;
using LowRank.Diffusion.Samplers;

namespace LowRank.Recipes;

/// <summary>
/// Prior pictures that the base model draws itself before training: the recipe's <c>[prior]</c>. They are kept, and used again by every run that says the same.
/// Pictures that are there already need no such table: <see cref="Data.DataSetOptions.Prior"/> takes them.
/// </summary>
public sealed record PriorOptions
{
    /// <summary>What they show, and their caption: the class of the subject in plain words, such as "a photo of a dog".</summary>
    public required string Prompt { get; init; }

    /// <summary>Where they are kept, and nothing else; made when absent. Relative to the recipe.</summary>
    public required string Folder { get; init; }

    /// <summary>How many; those that are missing are drawn. The time to draw them grows with it.</summary>
    public int Count { get; init; } = 100;

    /// <summary>Seed of the first; the next ones count up, as in <c>lora generate</c>.</summary>
    public long Seed { get; init; }

    /// <summary>What they should not show. Unset: the model's empty prompt.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>Sampler, as in <c>lora generate</c>.</summary>
    public string Sampler { get; init; } = "ddim";

    /// <summary>Sampler steps; time grows with it.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Guidance scale; 1 is off.</summary>
    public double Guidance { get; init; } = 5;

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(!string.IsNullOrWhiteSpace(Prompt), $"prompt: empty; must say what prior pictures show, such as \"a photo of a dog\"");
        Check(!string.IsNullOrWhiteSpace(Folder), $"folder: empty; must name a folder to keep prior pictures in");
        Check(Count >= 1, $"count: {Count}; must be 1 or more");
        Check(Steps >= 1, $"steps: {Steps}; must be 1 or more");
        Check(Guidance is >= 1 and < double.PositiveInfinity, $"guidance: {Guidance}; must be 1 (off) or more");
        if (SamplerCatalog.ProblemOf(Sampler) is { } problem) problems.Add($"sampler: {problem}");
        return problems;
    }
}
