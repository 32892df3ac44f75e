using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>What pictures to make.</summary>
internal sealed record GenerationRequest
{
    /// <summary>One or more.</summary>
    public required IReadOnlyList<string> Prompts { get; init; }

    /// <summary>For the second text encoder, one for each prompt; null gives it the same.</summary>
    public IReadOnlyList<string>? SecondPrompts { get; init; }

    /// <summary>What to move away from, one for each prompt; null for none.</summary>
    public IReadOnlyList<string>? NegativePrompts { get; init; }

    /// <summary>For the second text encoder; null gives it the same.</summary>
    public IReadOnlyList<string>? SecondNegativePrompts { get; init; }

    /// <summary>See <see cref="PromptOptions.SkippedLayers"/>.</summary>
    public int SkippedLayers { get; init; }

    /// <summary>The same for negative prompts and absent ones: as the prompts' in trainers and web UIs, 0 in diffusers whatever the prompts' is.</summary>
    public int NegativeSkippedLayers { get; init; }

    /// <summary>See <see cref="PromptOptions.Weighted"/>.</summary>
    public bool Weighted { get; init; }

    /// <summary>Pictures of each prompt, made next to each other.</summary>
    public int PicturesPerPrompt { get; init; } = 1;

    /// <summary>Pixels, a multiple of the family's latent factor.</summary>
    public required int Height { get; init; }

    /// <summary>Pixels, a multiple of the family's latent factor.</summary>
    public required int Width { get; init; }

    /// <summary>Steps of the sampler, 1 or more.</summary>
    public int Steps { get; init; } = 30;

    /// <summary>How closely the prompt is followed.</summary>
    public Guidance Guidance { get; init; } = new(7.5);

    /// <summary>Sizes that the model is told, for families that take them; null tells height and width, not cropped.</summary>
    public SizeCondition? Size { get; init; }

    /// <summary>Sizes told without the prompt; null: as with it.</summary>
    public SizeCondition? NegativeSize { get; init; }

    /// <summary>Unit noise to start from, (pictures, C, h, w) float32; null draws it.</summary>
    public Tensor? StartNoise { get; init; }

    /// <summary>Pictures to start from, (1 or one for each picture, 3, Height, Width) float32 in [-1, 1]; null starts from noise alone.</summary>
    public Tensor? Image { get; init; }

    /// <summary>How much of the way is walked from <see cref="Image"/>: above 0, at most 1.</summary>
    public double Strength { get; init; } = 1;

    /// <summary>What to paint anew in <see cref="Image"/>: (1 or one for each picture, 1, Height, Width) float32, from ½ on painted; null for all of it.</summary>
    public Tensor? Mask { get; init; }

    /// <summary>Pictures in all.</summary>
    public int Pictures => Prompts.Count * PicturesPerPrompt;

    /// <summary>Refuses what a family cannot make.</summary>
    /// <exception cref="OptionsException">Lists every problem, one a line.</exception>
    public void Check(IDiffusionFamily family)
    {
        var problems = Problems(family).ToList();
        if (problems.Count > 0) throw new OptionsException(string.Join('\n', problems));
    }

    private IEnumerable<string> Problems(IDiffusionFamily family)
    {
        if (Prompts.Count == 0) yield return "no prompt is given; give one or more";
        foreach (var (name, texts) in (IEnumerable<(string, IReadOnlyList<string>?)>)[("second prompts", SecondPrompts), ("negative prompts", NegativePrompts), ("second negative prompts", SecondNegativePrompts)])
        {
            if (texts is not null && texts.Count != Prompts.Count) yield return Invariant($"{name}: {texts.Count} for {Prompts.Count} prompts; give one for each");
        }
        if (SecondNegativePrompts is not null && NegativePrompts is null) yield return "second negative prompts need negative prompts beside them";
        if (PicturesPerPrompt < 1) yield return Invariant($"pictures of each prompt: {PicturesPerPrompt}; 1 or more");
        if (Height < 1 || Width < 1 || Height % family.LatentFactor != 0 || Width % family.LatentFactor != 0)
        {
            yield return Invariant($"size: {Width} x {Height}; width and height must be multiples of {family.LatentFactor} for {family.Name}");
        }
        if (Steps < 1) yield return Invariant($"steps: {Steps}; 1 or more");
        if (Strength is not (> 0 and <= 1)) yield return Invariant($"noise strength: {Strength}; above 0, at most 1");
        else if (Image is not null && (int)(Steps * Strength) < 1) yield return Invariant($"noise strength {Strength} of {Steps} steps leaves none; give more steps or more strength");
        if (Mask is not null && Image is null) yield return "a mask needs a picture to paint in; give both";
        if (family.Inpaints && (Image is null || Mask is null)) yield return $"{family.Name} paints in pictures; give a picture and a mask";
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
