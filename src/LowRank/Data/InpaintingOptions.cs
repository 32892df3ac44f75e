using System.Globalization;

namespace LowRank.Data;

/// <summary>Where the holes of an inpainting training come from.</summary>
public enum HoleSource
{
    /// <summary>Shapes drawn anew in each use of a picture.</summary>
    Random,

    /// <summary>The masks of the data (<see cref="DataSetOptions.Mask"/>), white where the hole is; a picture of a folder without masks is all hole. They do not weigh the loss then.</summary>
    Masks,
}

/// <summary>
/// Training of inpainting models, whose denoiser sees a hole and the picture without it beside the noisy latents: the recipe's <c>[inpainting]</c>.
/// </summary>
public sealed record InpaintingOptions
{
    /// <summary>
    /// Makes an inpainting model of another one: its denoiser gets the input channels for hole and picture, with zero weights, and so predicts as before until it
    /// has learned. Only for methods that write a whole model.
    /// </summary>
    public bool Widen { get; init; }

    /// <summary>
    /// Where holes come from. Random ones are drawn in the pixels that a use of a picture has after resizing, cutting and mirroring; the picture around them is
    /// encoded in every step, and the autoencoder stays in memory. Masks are encoded once, unless pictures are cut at random.
    /// </summary>
    public HoleSource Holes { get; init; }

    /// <summary>Share of uses in which all of the picture is the hole, 0 to 1: what keeps the model following its prompt.</summary>
    public double FullHoles { get; init; } = 0.25;

    /// <summary>Fewest shapes of a hole; 1 or more.</summary>
    public int MinShapes { get; init; } = 1;

    /// <summary>Most shapes of a hole; not below <see cref="MinShapes"/>. Each number between is as likely.</summary>
    public int MaxShapes { get; init; } = 4;

    /// <summary>Smallest width and height of a shape as a share of the picture's, 0 to 1; at least a pixel.</summary>
    public double MinSize { get; init; } = 0.1;

    /// <summary>Largest width and height of a shape, 0 to 1; not below <see cref="MinSize"/>. Each width and height between is as likely.</summary>
    public double MaxSize { get; init; } = 0.6;

    /// <summary>Share of the shapes that are ellipses, 0 to 1; the others are rectangles.</summary>
    public double Ellipses { get; init; } = 0.5;

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(FullHoles is >= 0 and <= 1, $"full_holes: {FullHoles}; must be from 0 to 1");
        Check(MinShapes >= 1, $"min_shapes: {MinShapes}; must be 1 or more");
        Check(MaxShapes >= MinShapes, $"max_shapes: {MaxShapes}; is below min_shapes: {MinShapes}");
        Check(MinSize is >= 0 and <= 1, $"min_size: {MinSize}; must be from 0 to 1");
        Check(MaxSize is >= 0 and <= 1, $"max_size: {MaxSize}; must be from 0 to 1");
        Check(!(MaxSize < MinSize), $"max_size: {MaxSize}; is below min_size: {MinSize}");
        Check(Ellipses is >= 0 and <= 1, $"ellipses: {Ellipses}; must be from 0 to 1");
        Check(Holes == HoleSource.Random || this == new InpaintingOptions { Holes = Holes, Widen = Widen }, $"full_holes, min_shapes, max_shapes, min_size, max_size, ellipses: do nothing with holes = \"masks\"");
        return problems;
    }
}
