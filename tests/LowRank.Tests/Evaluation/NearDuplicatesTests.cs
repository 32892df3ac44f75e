using LowRank.Evaluation;
using LowRank.Images;
using LowRank.Testing;

namespace LowRank.Tests.Evaluation;

public class NearDuplicatesTests
{
    private static readonly RgbImage First = Picture("first", 5), Second = Picture("second", 90), Third = Picture("third", 230);

    private static RgbImage Picture(string name, int seed) => new(new PixelSize(47, 61), FormulaPicture.Of(name, 61, 47, 3, seed));

    [Fact]
    public void A_copy_a_smaller_copy_and_a_mirrored_one_find_their_picture()
    {
        var among = new[] { PictureHash.Of(First), PictureHash.Of(Second) };
        var copies = new[] { Second, ResizeCrop.Resize(First, new PixelSize(33, 43)), NearDuplicates.Mirror(Second) }.Select(Both).ToList();
        var found = NearDuplicates.Nearest(copies, among, itself: false);
        Assert.Equal(new NearestPicture(1, 0, Mirrored: false), found[0]);
        Assert.Equal((0, false), (found[1].Index, found[1].Mirrored));
        Assert.InRange(found[1].Distance, 0, PerceptualHashes.NearDuplicate);
        Assert.Equal(new NearestPicture(1, 0, Mirrored: true), found[2]);
    }

    [Fact]
    public void A_picture_is_not_its_own_nearest_in_its_set()
    {
        var pictures = new[] { First, Second, Third, First };
        var found = NearDuplicates.Nearest([.. pictures.Select(Both)], [.. pictures.Select(PictureHash.Of)], itself: true);
        Assert.Equal(new NearestPicture(3, 0, false), found[0]);
        Assert.Equal(new NearestPicture(0, 0, false), found[3]);
        Assert.True(found[1].Distance > PerceptualHashes.NearDuplicate && found[2].Distance > PerceptualHashes.NearDuplicate);
    }

    [Fact]
    public void Both_hashes_must_be_near()
    {
        Assert.Equal(3, new PictureHash(0, 0).DistanceTo(new PictureHash(1, 7)));
        Assert.Equal(2, new PictureHash(0, 0).DistanceTo(new PictureHash(3, 0)));
    }

    [Fact]
    public void A_mirrored_picture_has_its_columns_in_reverse()
    {
        var picture = new RgbImage(new PixelSize(2, 2), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        Assert.Equal([4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9], NearDuplicates.Mirror(picture).Pixels);
    }

    private static (PictureHash, PictureHash) Both(RgbImage picture) => (PictureHash.Of(picture), PictureHash.Of(NearDuplicates.Mirror(picture)));
}
