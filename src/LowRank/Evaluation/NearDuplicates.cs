using LowRank.Images;

namespace LowRank.Evaluation;

/// <summary>
/// What two hashes say of a picture: they look at its greys only. One hash alone finds pictures alike that share no more than a bright middle, so both must agree.
/// </summary>
/// <param name="Difference">By <see cref="PerceptualHashes.Difference"/>.</param>
/// <param name="Perceptual">By <see cref="PerceptualHashes.Perceptual"/>.</param>
internal readonly record struct PictureHash(ulong Difference, ulong Perceptual)
{
    /// <summary>Of a picture.</summary>
    public static PictureHash Of(RgbImage picture) => new(PerceptualHashes.Difference(picture), PerceptualHashes.Perceptual(picture));

    /// <summary>The larger of the two numbers of differing bits: 0 to 64.</summary>
    public int DistanceTo(PictureHash other) => Math.Max(PerceptualHashes.Distance(Difference, other.Difference), PerceptualHashes.Distance(Perceptual, other.Perceptual));
}

/// <summary>The nearest of a set of pictures.</summary>
/// <param name="Index">Which of the set; the first of several.</param>
/// <param name="Distance">By <see cref="PictureHash.DistanceTo"/>.</param>
/// <param name="Mirrored">Whether it is this near to the mirrored picture only.</param>
internal readonly record struct NearestPicture(int Index, int Distance, bool Mirrored);

/// <summary>Finds pictures that are nearly the same: generated ones that repeat what was trained on.</summary>
internal static class NearDuplicates
{
    /// <summary>The nearest picture of a set for each of another, mirrored ones included.</summary>
    /// <param name="pictures">As they are, and mirrored.</param>
    /// <param name="among">At least one; two where <paramref name="itself"/>.</param>
    /// <param name="itself">Whether both are one set, in one order: then a picture is not its own nearest.</param>
    public static NearestPicture[] Nearest(IReadOnlyList<(PictureHash Upright, PictureHash Mirrored)> pictures, IReadOnlyList<PictureHash> among, bool itself)
    {
        var nearest = new NearestPicture[pictures.Count];
        for (var i = 0; i < nearest.Length; i++)
        {
            nearest[i] = new NearestPicture(-1, int.MaxValue, false);
            for (var j = 0; j < among.Count; j++)
            {
                if (itself && i == j) continue;
                var (upright, mirrored) = (pictures[i].Upright.DistanceTo(among[j]), pictures[i].Mirrored.DistanceTo(among[j]));
                if (Math.Min(upright, mirrored) < nearest[i].Distance) nearest[i] = new NearestPicture(j, Math.Min(upright, mirrored), mirrored < upright);
            }
        }
        return nearest;
    }

    /// <summary>A picture with left and right swapped.</summary>
    public static RgbImage Mirror(RgbImage picture)
    {
        var mirrored = new byte[picture.Pixels.Length];
        for (var i = 0; i < picture.Size.Pixels; i++)
        {
            var (row, column) = (i / picture.Size.Width, i % picture.Size.Width);
            picture.Pixels.AsSpan(3 * i, 3).CopyTo(mirrored.AsSpan(3 * (row * picture.Size.Width + picture.Size.Width - 1 - column), 3));
        }
        return new RgbImage(picture.Size, mirrored);
    }
}
