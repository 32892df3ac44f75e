using System.Text;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Testing;

namespace LowRank.Tests.Images;

public class ImageFileTests
{
    [Theory]
    [InlineData(".jpg")]
    [InlineData(".png")]
    [InlineData(".webp")]
    [InlineData(".webp[lossless]")]
    [InlineData(".gif")]
    [InlineData(".tif")]
    [InlineData(".tif[compression=lzw]")]
    [InlineData(".avif")]
    public void A_file_cut_anywhere_is_an_error_and_never_half_a_picture(string ending)
    {
        var whole = Samples.Encode(Samples.Picture(70, 50), ending);
        Assert.Equal(new PixelSize(70, 50), ImageFile.Decode(whole).Size);
        foreach (var share in new[] { 0.05, 0.3, 0.5, 0.7, 0.9 })
        {
            var cut = whole[..(int)(whole.Length * share)];
            var error = Assert.Throws<ImageDefectException>(() => ImageFile.Decode(cut));
            // nothing in a TIFF says how long it is; of others, the container does, once enough of it is there
            if (share >= 0.3 && !ending.StartsWith(".tif", StringComparison.Ordinal)) Assert.Equal(ImageDefect.Truncated, error.Defect);
            Assert.Throws<ImageDefectException>(() => ResizeCrop.Load(cut, new Placement(new(35, 25), 0, 0, new(16, 16), Flip: false)));
        }
    }

    [Fact]
    public void Errors_name_the_file_and_say_why()
    {
        using var folder = new TemporaryFolder();
        string Message(string name, byte[] content)
        {
            var path = folder.Path(name);
            File.WriteAllBytes(path, content);
            return Assert.Throws<DatasetException>(() => ImageFile.Read(path)).Message.Replace(folder.FullName, "FOLDER", StringComparison.Ordinal);
        }
        var jpeg = Samples.Jpeg(Samples.Picture(64, 64));
        var damaged = Samples.Png(64, 64);
        damaged[damaged.Length / 2] ^= 0xFF;
        var at = Path.DirectorySeparatorChar;
        Assert.Equal($"picture cannot be read: FOLDER{at}a.png\n  the file is empty (0 bytes)", Message("a.png", []));
        Assert.Equal($"picture cannot be read: FOLDER{at}b.jpg\n  not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, SVG), whatever its name says", Message("b.jpg", "hello, I am text"u8.ToArray()));
        Assert.Equal($"picture cannot be read: FOLDER{at}c.jpg\n  the file ends before the picture does: an unfinished copy or download", Message("c.jpg", jpeg[..(jpeg.Length / 2)]));
        Assert.Equal($"picture cannot be read: FOLDER{at}d.png\n  the file is damaged: it cannot be decoded to its end", Message("d.png", damaged));
        Assert.Equal($"picture cannot be read: FOLDER{at}e.jpg\n  HEIC, which this build of libvips cannot read; convert it to JPEG or PNG",
            Message("e.jpg", [0, 0, 0, 24, .. "ftypheic"u8, 0, 0, 0, 0, .. "mif1heic"u8, 0, 0, 0, 0]));
        var bomb = Encoding.UTF8.GetBytes("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"20000\" height=\"20000\"/>");
        Assert.Equal($"picture cannot be read: FOLDER{at}f.svg\n  its header says 20000×20000, above the limit of 178,956,970 pixels; make it smaller if it is real", Message("f.svg", bomb));
        Assert.Equal("no such picture: nowhere/g.png", Assert.Throws<DatasetException>(() => ImageFile.Read("nowhere/g.png")).Message);
    }

    [Fact]
    public void A_profile_that_cannot_be_read_is_reported_and_ignored()
    {
        var files = Path.Combine(GoldenCase.FixturesFolder, "images", "files");
        Assert.True(ImageFile.ReadHeader(File.ReadAllBytes(Path.Combine(files, "icc-broken.jpg"))).ProfileIgnored);
        Assert.False(ImageFile.ReadHeader(File.ReadAllBytes(Path.Combine(files, "icc-adobe-rgb.png"))).ProfileIgnored);
        Assert.False(ImageFile.ReadHeader(Samples.Png()).ProfileIgnored);
    }

    [Theory]
    [InlineData("Steps: 20, Seed: 7\nno strange letters", "tEXt")]
    [InlineData("größe ½", "tEXt")]
    [InlineData("猫 🙂", "iTXt")]
    public void A_png_keeps_its_texts(string text, string chunk)
    {
        using var folder = new TemporaryFolder();
        var path = folder.Path("a.png");
        var picture = Samples.Picture(20, 10);
        ImageFile.WritePng(path, picture, new Dictionary<string, string> { ["parameters"] = text, ["Software"] = "LowRank" });
        var written = File.ReadAllBytes(path);
        var texts = PngText.Read(written);
        Assert.Equal(text, texts["parameters"]);
        Assert.Equal("LowRank", texts["Software"]);
        Assert.Contains(chunk, Encoding.Latin1.GetString(written), StringComparison.Ordinal);
        Assert.Equal(picture.Pixels, ImageFile.Decode(written).Pixels);
    }

    /// <summary>A run that is killed while it writes leaves the old picture, or none, and never the first half of one.</summary>
    [Fact]
    public void A_picture_is_replaced_as_a_whole()
    {
        using var folder = new TemporaryFolder();
        var path = folder.Path("a.png");
        ImageFile.WritePng(path, Samples.Picture(20, 10));
        var before = File.ReadAllBytes(path);
        using (var reader = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete))
        {
            ImageFile.WritePng(path, Samples.Picture(7, 5));
            using var seen = new MemoryStream();
            reader.CopyTo(seen);
            Assert.Equal(before, seen.ToArray());
        }
        Assert.Equal(new PixelSize(7, 5), ImageFile.Read(path).Size);
        Assert.Equal(["a.png"], Directory.GetFiles(folder.FullName).Select(Path.GetFileName));
    }

    [Fact]
    public void Texts_written_by_libvips_are_read_too()
    {
        using var raw = NetVips.Image.NewFromMemory(Samples.Picture(8, 8).Pixels, 8, 8, 3, NetVips.Enums.BandFormat.Uchar);
        using var marked = raw.Mutate(change => change.Set(NetVips.GValue.GStrType, "png-comment-0-parameters", "compressed text"));
        Assert.Equal("compressed text", PngText.Read(marked.PngsaveBuffer())["parameters"]);
    }

    [Fact]
    public void Planes_and_back_is_the_same_picture()
    {
        var picture = new RgbImage(new PixelSize(16, 16), [.. Enumerable.Range(0, 768).Select(i => (byte)i)]);
        var planes = PixelTensor.ToPlanes(picture);
        Assert.Equal(768, planes.Length);
        for (var i = 0; i < 256; i++)
        {
            for (var band = 0; band < 3; band++) Assert.Equal(picture.Pixels[3 * i + band] / 127.5f - 1f, planes[256 * band + i], 1e-6f);
        }
        Assert.Equal(picture.Pixels, PixelTensor.ToImage(planes, picture.Size).Pixels);
        Assert.Equal([0, 255, 128], PixelTensor.ToImage([-3f, 7f, 0.0001f], new PixelSize(1, 1)).Pixels);
    }
}
