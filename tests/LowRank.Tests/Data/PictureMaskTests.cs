using LowRank.Data;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Tests.Images;
using NetVips;

namespace LowRank.Tests.Data;

public sealed class PictureMaskTests : IDisposable
{
    private readonly DataFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Masks_beside_the_pictures_are_no_pictures_and_a_picture_without_one_is_skipped()
    {
        folder.Picture("a.png").Picture("a.mask.png").Picture("b.png");
        var scan = Read(MaskSource.Sidecar);
        var image = Assert.Single(scan.Images);
        Assert.Equal(("a.png", "a.mask.png", false), (Path.GetFileName(image.Path), Path.GetFileName(image.Mask!.Path), image.Mask.Alpha));
        Assert.Contains("  skipped b.png: no mask: b.mask.png is not there", scan.Report.Lines());
        scan = Read(MaskSource.None);
        Assert.Equal(2, scan.Images.Count);
        Assert.All(scan.Images, item => Assert.Null(item.Mask));
        Assert.Contains("  warning: 1 masks (name.mask.png) are left out; mask = \"sidecar\" uses them", scan.Report.Lines());
    }

    [Fact]
    public void Masks_of_a_folder_are_found_by_name_also_where_it_lies_among_the_pictures()
    {
        folder.Bytes("a.jpg", Samples.Jpeg(Samples.Picture(64, 64))).Picture("masks/a.png").Picture("2/b.png").Picture("masks/2/b.png");
        var scan = folder.Read(options => options with { Caption = "x", Mask = MaskSource.Folder, MaskFolder = Path.Combine(folder.FullName, "masks") });
        Assert.Equal(["masks/a.png", "masks/2/b.png"], scan.Images.Select(image => Path.GetRelativePath(folder.FullName, image.Mask!.Path).Replace('\\', '/')));
    }

    [Fact]
    public void A_mask_is_the_alpha_channel_where_that_is_asked_for()
    {
        folder.Picture("plain.png").Bytes("clear.png", WithAlpha(64, 64));
        var scan = Read(MaskSource.Alpha);
        Assert.Equal("clear.png", Path.GetFileName(Assert.Single(scan.Images).Path));
        Assert.Contains("  skipped plain.png: no mask: it has no alpha channel", scan.Report.Lines());
        var sample = new Sample(scan.Images[0], scan.Images[0].Centre(flip: false), "");
        Assert.Equal(FormulaPicture.Of("alpha", 64, 64, 4, 3).Where((_, index) => index % 4 == 3), BatchLoader.Load(new PlannedBatch([sample], null)).Masks!);
    }

    [Fact]
    public void A_mask_of_another_size_is_refused()
    {
        folder.Picture("a.png").Picture("a.mask.png", 32, 48).Picture("b.png").Picture("b.mask.png", 48, 64);
        Assert.Equal("""
            masks in FOLDER that do not fit their pictures
              a.mask.png is 32×48, a.png is 64×64
              b.mask.png is 48×64, b.png is 64×64
              try         masks of exactly their picture's size: they are resized, cut and mirrored together
            """.ReplaceLineEndings("\n"), folder.Hide(Assert.Throws<DatasetException>(() => Read(MaskSource.Sidecar)).Message));
    }

    [Fact]
    public void A_damaged_mask_skips_its_picture()
    {
        folder.Picture("a.png").Picture("a.mask.png").Picture("b.png").Bytes("b.mask.png", [1, 2, 3]);
        Assert.Contains("  skipped b.png: its mask b.mask.png cannot be read: not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, SVG), whatever its name says", Read(MaskSource.Sidecar).Report.Lines());
    }

    /// <summary>A picture that is its own mask: whatever is done to it, both stay the same.</summary>
    [Theory]
    [InlineData(80, 64, 0)]       // cut only: the same bytes
    [InlineData(160, 200, 12)]    // shrunk and cut: another kernel, no other place
    [InlineData(40, 50, 3)]       // enlarged and cut
    public void A_mask_follows_every_cut_and_mirroring_of_its_picture(int width, int height, double meanLevels)
    {
        var content = Grey(width, height);
        folder.Bytes("a.png", content).Bytes("a.mask.png", content);
        var image = Assert.Single(folder.Read(options => options with { Caption = "x", Mask = MaskSource.Sidecar, Buckets = false }).Images);
        foreach (var flip in new[] { false, true })
        {
            var centre = image.Centre(flip);
            var corner = centre with { Left = centre.Resized.Width - 64, Top = 0 };
            foreach (var placement in new[] { centre, corner })
            {
                var batch = BatchLoader.Load(new PlannedBatch([new Sample(image, placement, "")], null));
                var far = batch.Masks!.Select((value, index) => Math.Abs(value - batch.Pixels[3 * index])).Average();
                Assert.InRange(far, 0, meanLevels);
                var mirrored = BatchLoader.Load(new PlannedBatch([new Sample(image, placement with { Flip = !flip }, "")], null));
                Assert.True(mirrored.Masks!.Select((value, index) => Math.Abs(value - batch.Pixels[3 * index])).Average() > 20, "the picture is not symmetric");
            }
        }
    }

    [Fact]
    public void Pictures_without_a_mask_are_white_beside_others_with_one()
    {
        folder.Picture("a.png").Picture("a.mask.png", seed: 2);
        var masked = Read(MaskSource.Sidecar).Images[0];
        var batch = BatchLoader.Load(new PlannedBatch([new Sample(masked with { Mask = null }, masked.Centre(false), ""), new Sample(masked, masked.Centre(false), "")], null));
        Assert.All(batch.Masks![..(64 * 64)], value => Assert.Equal(255, value));
        Assert.Contains(batch.Masks[(64 * 64)..], value => value != 255);
        using var tensor = batch.MasksToTensor();
        Assert.Equal([2L, 1, 64, 64], tensor!.shape);
        Assert.Null(BatchLoader.Load(new PlannedBatch([new Sample(masked with { Mask = null }, masked.Centre(false), "")], null)).MasksToTensor());
    }

    private ImageFolder.Scan Read(MaskSource source) => folder.Read(options => options with { Caption = "x", Mask = source });

    private static byte[] Grey(int width, int height)
    {
        using var raw = Image.NewFromMemory(FormulaPicture.Of("grey", height, width, 1, 5), width, height, 1, Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Enums.Interpretation.Bw);
        return image.PngsaveBuffer();
    }

    private static byte[] WithAlpha(int width, int height)
    {
        using var raw = Image.NewFromMemory(FormulaPicture.Of("alpha", height, width, 4, 3), width, height, 4, Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Enums.Interpretation.Srgb);
        return image.PngsaveBuffer();
    }
}
