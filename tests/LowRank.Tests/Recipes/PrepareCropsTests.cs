using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Data;

namespace LowRank.Tests.Recipes;

public sealed class PrepareCropsTests : IDisposable
{
    private readonly DataFolder folder = new();
    private readonly TemporaryFolder other = new();

    public void Dispose()
    {
        folder.Dispose();
        other.Dispose();
    }

    [Fact]
    public void A_crop_lies_around_the_white_of_the_mask_and_captions_and_masks_come_along()
    {
        folder.Picture("a.png", 90, 40, caption: "a caption\n").Bytes("a.mask.png", White(90, 40, from: 60, to: 80)).Text("a.tags", "tag").Picture("deeper/b.png", 40, 60, caption: "b");
        var result = Run(CropBy.Mask);
        Assert.Equal("no mask: b.mask.png is not there", result.Pictures[1].SkippedBecause);
        Assert.Equal("40×40 of 90×40, from column 50, row 0", result.Pictures[0].Made);   // the centre of mass is 69.5
        Assert.Equal(["a.mask.png", "a.png", "a.tags", "a.txt"], Directory.GetFiles(Crops).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal("a caption\n", File.ReadAllText(Path.Combine(Crops, "a.txt")));
        var (whole, crop) = (ImageFile.Read(At("a.png")), ImageFile.Read(Path.Combine(Crops, "a.png")));
        for (var y = 0; y < 40; y++) Assert.Equal(whole.Pixels.AsSpan(3 * (y * 90 + 50), 120).ToArray(), crop.Pixels.AsSpan(3 * y * 40, 120).ToArray());
        var mask = ResizeCrop.LoadMask(File.ReadAllBytes(Path.Combine(Crops, "a.mask.png")), alpha: false);
        Assert.Equal(Enumerable.Range(0, 1600).Select(i => i % 40 is >= 10 and < 30 ? (byte)255 : (byte)0), mask.Pixels);
        var image = ImageFolder.Read(new DataSetOptions { Folder = Crops, Mask = MaskSource.Sidecar }, 32, TestContext.Current.CancellationToken).Images.Single();
        Assert.Equal("a caption, tag", image.Caption);
    }

    [Fact]
    public void The_size_is_Pillows_Lanczos_and_what_is_smaller_is_enlarged_and_told_of()
    {
        folder.Picture("a.png", 90, 40).Picture("b.png", 200, 100);
        var result = Run(CropBy.Centre, options => options with { Size = 64 });
        Assert.Equal(["it is smaller than the size asked for: enlarged", null], result.Pictures.Select(picture => picture.Note));
        var whole = ImageFile.Read(At("b.png"));
        var (_, expected) = SquareCrop.Cut(whole.Pixels, whole.Size, 3, new CropBox(50, 0, 150, 100), 64);
        Assert.Equal(expected, ImageFile.Read(Path.Combine(Crops, "b.png")).Pixels);
        Assert.Equal(new PixelSize(64, 64), ImageFile.Read(Path.Combine(Crops, "a.png")).Size);
    }

    [Fact]
    public void Alpha_saliency_and_masks_elsewhere_rule_as_well()
    {
        var alpha = new byte[90 * 40];
        for (var i = 0; i < alpha.Length; i++) alpha[i] = i % 90 < 20 ? (byte)255 : (byte)0;
        folder.Bytes("a.png", PrepareMasksTests.WithAlpha(90, 40, alpha));
        Assert.Equal("40×40 of 90×40, from column 0, row 0", Run(CropBy.Alpha).Pictures[0].Made);
        Assert.True(File.Exists(Path.Combine(Crops, "a.mask.png")));
        File.WriteAllBytes(other.Path("masks", "a.png"), White(90, 40, from: 80, to: 90));
        Assert.Equal("40×40 of 90×40, from column 50, row 0", Run(CropBy.Mask, options => options with { Overwrite = true, MaskFolder = other.Path("masks") }).Pictures[0].Made);
        using var tokenizer = new TinyTokenizer();
        var salient = Run(CropBy.Saliency, options => options with { Overwrite = true, Model = OnnxFiles.Segmenter, Tokenizer = tokenizer.Folder, ModelSize = 32, Text = "c a t" });
        var mask = PrepareMasks.Run(new PrepareMasksOptions { Folder = folder.FullName, From = MaskFrom.Text, Model = OnnxFiles.Segmenter, Tokenizer = tokenizer.Folder, ModelSize = 32, Text = "c a t", Output = other.Path("made") }, cancellation: TestContext.Current.CancellationToken);
        var drawn = ResizeCrop.LoadMask(File.ReadAllBytes(mask.Pictures[0].Files[0]), alpha: false);
        var box = SquareCrop.Around(drawn.Size, SquareCrop.CentreOfMass(drawn)!.Value);
        Assert.Equal($"40×40 of 90×40, from column {box.Left}, row 0", salient.Pictures[0].Made);
        Assert.Equal(SquareCrop.Cut(drawn.Pixels, drawn.Size, 1, box, null).Pixels, ResizeCrop.LoadMask(File.ReadAllBytes(Path.Combine(Crops, "a.mask.png")), alpha: false).Pixels);
    }

    [Fact]
    public void A_black_mask_is_cut_in_the_middle_and_one_of_another_size_leaves_its_picture_out()
    {
        folder.Picture("a.png", 90, 40).Bytes("a.mask.png", White(90, 40, from: 0, to: 0)).Picture("b.png", 90, 40).Bytes("b.mask.png", White(91, 40, from: 0, to: 9));
        var result = Run(CropBy.Mask);
        Assert.Equal(("40×40 of 90×40, from column 25, row 0", "its mask is black all over: cut in the middle"), (result.Pictures[0].Made, result.Pictures[0].Note));
        Assert.Equal("its mask does not fit: b.mask.png is 91×40, b.png is 90×40", result.Pictures[1].SkippedBecause);
    }

    [Fact]
    public void Crops_that_are_there_stay_a_dry_run_writes_none_and_the_pictures_themselves_are_never_touched()
    {
        folder.Picture("a.png", 90, 40, caption: "a");
        var before = File.ReadAllBytes(At("a.png"));
        Assert.Equal(2, Run(CropBy.Centre, options => options with { DryRun = true }).Pictures[0].Files.Count);
        Assert.False(Directory.Exists(Crops));
        Run(CropBy.Centre);
        File.WriteAllText(Path.Combine(Crops, "a.txt"), "changed");
        Assert.True(Run(CropBy.Centre).Pictures[0].Kept);
        Assert.Equal("changed", File.ReadAllText(Path.Combine(Crops, "a.txt")));
        Assert.Equal(1, Run(CropBy.Centre, options => options with { Overwrite = true }).Made);
        Assert.Equal("a", File.ReadAllText(Path.Combine(Crops, "a.txt")));
        Assert.Equal(before, File.ReadAllBytes(At("a.png")));
        Assert.Equal(2, Directory.GetFiles(folder.FullName).Length);
    }

    [Fact]
    public void Crops_into_the_folder_itself_and_pictures_that_would_share_a_name_are_refused()
    {
        folder.Picture("a.png").Picture("a.jpg");
        Assert.Equal([$"output: {folder.FullName}; lies in the folder of pictures, and would be taken for pictures itself; name a folder beside it", "size: 0; must be 1 or more pixels"],
            new PrepareCropsOptions { Folder = folder.FullName, Output = folder.FullName, By = CropBy.Centre, Size = 0 }.Validate().Reverse());
        Assert.Equal(
            $"pictures of the same name in {folder.FullName}: they would share one caption and one mask\n  a.jpg, a.png\n  try         to rename or remove one of each",
            Assert.Throws<DatasetException>(() => Run(CropBy.Centre)).Message);
    }

    private string Crops => Path.Combine(other.FullName, "crops");

    private PreparationResult Run(CropBy by, Func<PrepareCropsOptions, PrepareCropsOptions>? change = null)
    {
        var options = new PrepareCropsOptions { Folder = folder.FullName, Output = Crops, By = by };
        return PrepareCrops.Run(change is null ? options : change(options), cancellation: TestContext.Current.CancellationToken);
    }

    private string At(string name) => Path.Combine(folder.FullName, name);

    /// <summary>A mask that is white in some columns.</summary>
    private static byte[] White(int width, int height, int from, int to) =>
        ImageFile.EncodePng(new GreyImage(new PixelSize(width, height), [.. Enumerable.Range(0, width * height).Select(i => i % width >= from && i % width < to ? (byte)255 : (byte)0)]));
}
