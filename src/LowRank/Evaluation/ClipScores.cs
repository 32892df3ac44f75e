using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>How well pictures and texts agree by CLIP: cosines of the projected features, [n, d] of a float type and of any length. One value a row.</summary>
internal static class ClipScores
{
    /// <summary>Cosine of every picture with its text, -1 to 1. Their mean is the text alignment of the 2022 package (lora_diffusion/utils.py).</summary>
    /// <param name="images">[n, d].</param>
    /// <param name="texts">[n, d].</param>
    /// <exception cref="ArgumentException">Shapes do not fit, or a feature is all zeros.</exception>
    public static double[] Cosines(Tensor images, Tensor texts)
    {
        using var scope = NewDisposeScope();
        Shapes.Require(texts, Invariant($"{Shapes.Require(images, "n,d").size(0)},{images.size(1)}"));
        return (FeatureRows.ToUnit(images) * FeatureRows.ToUnit(texts)).sum(1).data<double>().ToArray();
    }

    /// <summary>CLIP score, 0 to 100: the mean of the cosines times 100, and 0 where that is negative, as torchmetrics has it.</summary>
    public static double Score(IReadOnlyCollection<double> cosines) => Math.Max(100 * cosines.Average(), 0);

    /// <summary>CLIP-S of the first definition, 0 to 2.5 (Hessel and others, 2021): 2.5 times the mean of the cosines, negative ones taken as 0.</summary>
    public static double FirstDefinition(IReadOnlyCollection<double> cosines) => 2.5 * cosines.Average(value => Math.Max(value, 0));

    /// <summary>
    /// Alignment of every picture to a set of pictures, as the 2022 package measures it: its direction times the mean of their directions. That mean is
    /// shorter than 1, the more the set varies, and is not brought to unit length.
    /// </summary>
    /// <param name="images">[n, d].</param>
    /// <param name="targets">[m, d].</param>
    /// <exception cref="ArgumentException">Shapes do not fit, or a feature is all zeros.</exception>
    public static double[] ImageAlignment(Tensor images, Tensor targets)
    {
        using var scope = NewDisposeScope();
        Shapes.Require(targets, Invariant($"m,{Shapes.Require(images, "n,d").size(1)}"));
        return FeatureRows.ToUnit(images).matmul(FeatureRows.ToUnit(targets).mean([0])).data<double>().ToArray();
    }

    /// <summary>
    /// Cosine of each picture's change with its text's change, -1 to 1 (Gal and others, StyleGAN-NADA, 2021): whether an edit went where the words went.
    /// The changes are differences of directions.
    /// </summary>
    /// <param name="imagesBefore">[n, d].</param>
    /// <param name="imagesAfter">[n, d].</param>
    /// <param name="textsBefore">[n, d].</param>
    /// <param name="textsAfter">[n, d].</param>
    /// <exception cref="ArgumentException">Shapes do not fit, a feature is all zeros, or nothing changed.</exception>
    public static double[] Directional(Tensor imagesBefore, Tensor imagesAfter, Tensor textsBefore, Tensor textsAfter)
    {
        using var scope = NewDisposeScope();
        return Cosines(FeatureRows.ToUnit(imagesAfter) - FeatureRows.ToUnit(imagesBefore), FeatureRows.ToUnit(textsAfter) - FeatureRows.ToUnit(textsBefore));
    }
}
