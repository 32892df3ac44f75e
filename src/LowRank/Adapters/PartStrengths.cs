using LowRank.Foundation;

namespace LowRank.Adapters;

/// <summary>How strongly an adapter works in each part and block of a model, beside its whole strength: factors that multiply.</summary>
/// <param name="Parts">By component (unet, text_encoder, text_encoder_2) a factor; what is not named has 1, and text_encoder also holds for text_encoder_2 where that is not named.</param>
/// <param name="Blocks">As <see cref="UnetBlocks.Expand"/> takes them; empty for 1 everywhere.</param>
internal sealed record PartStrengths(IReadOnlyDictionary<string, double> Parts, IReadOnlyList<double> Blocks)
{
    private const string TextEncoder = "text_encoder";

    /// <summary>The factor of every layer.</summary>
    /// <exception cref="OptionsException">A part that the model lacks, or a number of block strengths that fits none of its lists.</exception>
    public Func<string, string, double> On(ModuleNames names)
    {
        foreach (var part in Parts.Keys.Where(part => !names.Components.Contains(part)))
        {
            throw new OptionsException($"no part of this model is named {part}{NearestName.Hint(part, names.Components)}; it has {string.Join(", ", names.Components)}");
        }
        var blocks = names.Blocks;
        var expanded = blocks.Expand(Blocks);
        return (component, path) => OfPart(component) * expanded[blocks.PlaceOf(component, path)];
    }

    /// <summary>Sets the factors of an adapter's layers; they count from the next forward on.</summary>
    /// <exception cref="OptionsException">As for <see cref="On"/>; nothing is changed then.</exception>
    public void ApplyTo(AdapterSet set)
    {
        if (Parts.Count == 0 && Blocks.Count == 0)
        {
            foreach (var layer in set.Layers) layer.StrengthFactor = 1;
            return;
        }
        var factors = On(set.Names);
        foreach (var layer in set.Layers) layer.StrengthFactor = factors(layer.Component, layer.Path);
    }

    private double OfPart(string component) =>
        Parts.TryGetValue(component, out var own) ? own
        : component.StartsWith(TextEncoder, StringComparison.Ordinal) && Parts.TryGetValue(TextEncoder, out var encoders) ? encoders
        : 1;
}
