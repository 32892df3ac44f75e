using LowRank.Diffusion;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>Whether a model can be trained as a recipe says.</summary>
internal static class ModelFit
{
    /// <exception cref="OptionsException">It cannot.</exception>
    public static void Require(IRunOptions options, IDiffusionFamily family)
    {
        if (family.DenoiserChannels != family.LatentChannels) throw new OptionsException($"model: {options.Model} is an inpainting model ({family.DenoiserChannels} input channels); training those is not offered yet: take the model it was made from");
    }
}
