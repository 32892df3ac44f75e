using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Data;
using LowRank.Tests.Images;
using NetVips;

namespace LowRank.Tests.Recipes;

public sealed class PrepareMasksTests : IDisposable
{
    private readonly DataFolder folder = new();
    private readonly TemporaryFolder other = new();

    public void Dispose()
    {
        folder.Dispose();
        other.Dispose();
    }

    [Fact]
    public void A_mask_from_alpha_is_the_alpha_and_training_reads_it()
    {
        var alpha = Enumerable.Range(0, 64 * 48).Select(i => (byte)(i % 256)).ToArray();
        folder.Bytes("a.png", WithAlpha(64, 48, alpha)).Text("a.txt", "a").Picture("b.png", 64, 48, caption: "b");
        var result = Run(MaskFrom.Alpha);
        Assert.Equal(("it has no alpha channel", false), (result.Pictures[1].SkippedBecause, result.Pictures[1].Kept));
        Assert.Equal(alpha, Mask("a").Pixels);
        File.Delete(At("b.png"));
        Assert.NotNull(folder.Read(options => options with { Mask = MaskSource.Sidecar }).Images.Single().Mask);
    }

    [Fact]
    public void A_background_is_what_the_border_reaches_and_white_inside_the_thing_stays()
    {
        // a grey frame on white, with white inside it
        var pixels = new byte[3 * 20 * 16];
        Array.Fill(pixels, (byte)250);
        for (var y = 4; y < 12; y++)
        {
            for (var x = 5; x < 15; x++)
            {
                if (y is 4 or 11 || x is 5 or 14) pixels.AsSpan(3 * (20 * y + x), 3).Fill(100);
            }
        }
        pixels[3 * 20 * 2] = 240;   // a speck within the tolerance
        folder.Bytes("a.png", ImageFile.EncodePng(new RgbImage(new PixelSize(20, 16), pixels)));
        Run(MaskFrom.Background);
        var expected = Enumerable.Range(0, 320).Select(i => i / 20 is >= 4 and < 12 && i % 20 is >= 5 and < 15 ? (byte)255 : (byte)0);
        Assert.Equal(expected, Mask("a").Pixels);
        Run(MaskFrom.Background, options => options with { Tolerance = 5, Overwrite = true });
        Assert.Equal(255, Mask("a").Pixels[20 * 2]);
    }

    [Fact]
    public void Boxes_of_a_detector_are_white()
    {
        folder.Picture("a.png", 40, 20).Picture("b.png");
        File.WriteAllText(other.Path("a.txt"), "0 0.5 0.5 0.5 0.5 0.97\n");
        var result = Run(MaskFrom.Boxes, options => options with { Boxes = other.FullName });
        Assert.Equal($"it has no boxes: {Path.Combine(other.FullName, "b.txt")} is not there", result.Pictures[1].SkippedBecause);
        Assert.Equal(Enumerable.Range(0, 800).Select(i => i % 40 is >= 10 and < 30 && i / 40 is >= 5 and < 15 ? (byte)255 : (byte)1), Mask("a").Pixels);
        File.WriteAllText(other.Path("b.txt"), "0 12 0.5 0.5 0.5\n");
        Assert.Equal($"no box: {Path.Combine(other.FullName, "b.txt")}, line 1: \"0 12 0.5 0.5 0.5\"\n  expected  class centre-x centre-y width height, the last four from 0 to 1 (YOLO's labels)",
            Assert.Throws<DatasetException>(() => Run(MaskFrom.Boxes, options => options with { Boxes = other.FullName })).Message);
    }

    [Fact]
    public void A_text_is_looked_for_or_the_pictures_own_caption()
    {
        using var tokenizer = new TinyTokenizer();
        folder.Picture("a.png", 50, 40).Text("a.txt", "q z").Picture("b.png", 50, 40);
        byte[] Draw(Func<PrepareMasksOptions, PrepareMasksOptions> change)
        {
            Run(MaskFrom.Text, options => change(options with { Model = OnnxFiles.Segmenter, Tokenizer = tokenizer.Folder, ModelSize = 32, Overwrite = true }));
            var mask = Mask("a");
            Assert.Equal(new PixelSize(50, 40), mask.Size);
            return mask.Pixels;
        }
        var text = Draw(options => options with { Text = "c a t" });
        Assert.InRange(text.Max(), 250, 255);
        Assert.InRange(text.Min(), 0, 240);
        Assert.NotEqual(text, Draw(options => options with { Text = "d o g" }));
        Assert.NotEqual(text, Draw(options => options with { Text = "c a t", Temperature = 0.3 }));
        Assert.NotEqual(text, Draw(options => options with { Text = "c a t", ModelSize = 16 }));
        var own = Run(MaskFrom.Text, options => options with { Model = OnnxFiles.Segmenter, Tokenizer = tokenizer.Folder, ModelSize = 32, Overwrite = true });
        Assert.Equal("nothing to look for: no caption: neither b.txt nor b.caption is there", own.Pictures[1].SkippedBecause);
        Assert.Equal(Mask("a").Pixels, Draw(options => options with { Text = "q z" }));
        // a text beyond the window is cut, and told of
        var noted = Run(MaskFrom.Text, options => options with { Model = OnnxFiles.Segmenter, Tokenizer = tokenizer.Folder, ModelSize = 32, Overwrite = true, Text = string.Join(' ', Enumerable.Repeat("a", 76)) + " z" });
        Assert.Equal("its text is longer than the model's window; cut away: \"a z\"", noted.Pictures[0].Note);
    }

    [Fact]
    public void Masks_that_are_there_stay_and_a_dry_run_writes_none()
    {
        folder.Picture("a.png");
        Assert.Equal(1, Run(MaskFrom.Background, options => options with { DryRun = true }).Made);
        Assert.Single(Directory.GetFiles(folder.FullName));
        folder.Text("a.mask.png", "mine");
        Assert.True(Run(MaskFrom.Background).Pictures[0].Kept);
        Assert.Equal("mine", File.ReadAllText(At("a.mask.png")));
        Assert.Equal(1, Run(MaskFrom.Background, options => options with { Overwrite = true }).Made);
        Assert.Equal(new PixelSize(64, 64), Mask("a").Size);
    }

    [Fact]
    public void Masks_in_a_folder_of_their_own_are_those_that_training_reads_and_blur_softens_them()
    {
        folder.Picture("a.png", caption: "a").Picture("deeper/b.jpg", caption: "b");
        var masks = other.Path("masks");
        Run(MaskFrom.Background, options => options with { Output = masks, Tolerance = 60 });
        Assert.Equal(2, folder.Read(options => options with { Mask = MaskSource.Folder, MaskFolder = masks }).Images.Count);
        var sharp = ResizeCrop.LoadMask(File.ReadAllBytes(Path.Combine(masks, "a.png")), alpha: false);
        Run(MaskFrom.Background, options => options with { Output = masks, Tolerance = 60, Blur = 4, Overwrite = true });
        Assert.Equal(GaussianBlur.Apply(sharp, 4).Pixels, ResizeCrop.LoadMask(File.ReadAllBytes(Path.Combine(masks, "a.png")), alpha: false).Pixels);
    }

    [Fact]
    public void A_mask_of_one_colour_is_told_of()
    {
        folder.Bytes("plain.png", ImageFile.EncodePng(new RgbImage(new PixelSize(8, 8), new byte[3 * 64]))).Bytes("opaque.png", WithAlpha(8, 8, [.. Enumerable.Repeat((byte)255, 64)]));
        Assert.Equal("its mask is black all over", Run(MaskFrom.Background).Pictures[1].Note);
        Assert.Equal("its mask is white all over", Run(MaskFrom.Alpha, options => options with { Overwrite = true }).Pictures[0].Note);
    }

    [Fact]
    public void Options_that_would_do_nothing_are_refused()
    {
        var options = new PrepareMasksOptions { Folder = folder.FullName, From = MaskFrom.Alpha, Text = "a", Boxes = "x", Tolerance = 3, Blur = -1, Output = Path.Combine(folder.FullName, "masks") };
        Assert.Equal(
            [
                "text, tokenizer, model-size, temperature: do nothing without from text",
                "boxes: x; goes with from boxes: a folder of label files",
                "tolerance: 3; does nothing without from background",
                "blur: -1; must be from 0 (off) to 1000 pixels",
                $"output: {options.Output}; lies in the folder of pictures, and would be taken for pictures itself; name a folder beside it",
            ], options.Validate());
        Assert.Equal(["model: not set; goes with from text: a segmenter such as CLIPSeg"], new PrepareMasksOptions { Folder = "x", From = MaskFrom.Text }.Validate());
        Assert.Empty(new PrepareMasksOptions { Folder = Path.Combine(folder.FullName, "in"), From = MaskFrom.Alpha, Output = folder.FullName }.Validate());
    }

    private PreparationResult Run(MaskFrom from, Func<PrepareMasksOptions, PrepareMasksOptions>? change = null)
    {
        var options = new PrepareMasksOptions { Folder = folder.FullName, From = from };
        return PrepareMasks.Run(change is null ? options : change(options), cancellation: TestContext.Current.CancellationToken);
    }

    private GreyImage Mask(string name) => ResizeCrop.LoadMask(File.ReadAllBytes(At(name + ".mask.png")), alpha: false);

    private string At(string name) => Path.Combine(folder.FullName, name);

    internal static byte[] WithAlpha(int width, int height, byte[] alpha)
    {
        var picture = Samples.Picture(width, height);
        using var colours = Image.NewFromMemory(picture.Pixels, width, height, 3, Enums.BandFormat.Uchar);
        using var mask = Image.NewFromMemory(alpha, width, height, 1, Enums.BandFormat.Uchar);
        using var joined = colours.Bandjoin(mask);
        using var image = joined.Copy(interpretation: Enums.Interpretation.Srgb);
        return image.PngsaveBuffer();
    }
}
