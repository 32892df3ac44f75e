using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Tests.Images;

namespace LowRank.Tests.Data;

public class ImageFolderTests
{
    [Fact]
    public void Pictures_are_paired_with_their_captions_and_reported()
    {
        using var folder = new DataFolder()
            .Picture("b.png", 64, 64, "a box")
            .Picture("a.png", 100, 50, "  \n a wide box \nsecond line")
            .Picture("more/c.png", 50, 100)
            .Text("more/c.caption", "a tall box")
            .Text("more/c.tags", "tall, box")
            .Text(".hidden.txt", "not looked at");
        var scan = folder.Read(options => options with { Repeats = 2 });
        Assert.Equal(["a.png", "b.png", "c.png"], scan.Images.Select(image => Path.GetFileName(image.Path)));
        Assert.Equal(["a wide box", "a box", "a tall box, tall, box"], scan.Images.Select(image => image.Caption));
        Assert.Equal([new(88, 40), new(64, 64), new(40, 88)], scan.Images.Select(image => image.Choice.Bucket));
        Assert.Equal(
            [
                "FOLDER: 3 pictures, 3 captions, 0 skipped, 6 uses an epoch",
                "  40×88  1",
                "  64×64  1",
                "  88×40  1",
            ], scan.Report.Lines().Select(folder.Hide));
    }

    [Fact]
    public void Broken_pictures_are_named_skipped_and_counted()
    {
        var jpeg = Samples.Jpeg(Samples.Picture(200, 200));
        using var folder = new DataFolder()
            .Picture("good.png", caption: "a box")
            .Bytes("cut.jpg", jpeg[..(jpeg.Length * 3 / 4)])
            .Bytes("empty.png", [])
            .Text("text.png", "I am a text")
            .Text("bomb.svg", "<svg xmlns='http://www.w3.org/2000/svg' width='20000' height='20000'/>")
            .Bytes("misnamed.png", jpeg).Text("misnamed.txt", "a JPEG by content");
        var scan = folder.Read();
        Assert.Equal(
            [
                "FOLDER: 2 pictures, 2 captions, 4 skipped",
                "  64×64  2",
                "  skipped bomb.svg: its header says 20000×20000, above the limit of 178,956,970 pixels; make it smaller if it is real",
                "  skipped cut.jpg: the file ends before the picture does: an unfinished copy or download",
                "  skipped empty.png: the file is empty (0 bytes)",
                "  skipped text.png: not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, SVG), whatever its name says",
            ], scan.Report.Lines().Select(folder.Hide));
    }

    [Fact]
    public void Pictures_without_a_usable_caption_are_named_and_skipped()
    {
        using var folder = new DataFolder()
            .Picture("a.png", caption: "a box").Picture("b.png").Picture("c.png", caption: " \n ").Picture("d.png").Bytes("d.txt", [0x67, 0xFC])
            .Text("misspelt.txt", "whose am I?");
        Assert.Equal(
            [
                "FOLDER: 1 picture, 1 caption, 3 skipped",
                "  64×64  1",
                "  skipped b.png: no caption: neither b.txt nor b.caption is there",
                "  skipped c.png: caption file c.txt is empty",
                "  skipped d.png: caption file d.txt is not UTF-8",
                "  warning: captions without a picture: misspelt.txt",
            ], folder.Read().Report.Lines().Select(folder.Hide));
    }

    [Fact]
    public void A_missing_folder_is_an_error() =>
        Assert.Equal($"no such folder of pictures: no-such-photos\n  looked for  {Path.GetFullPath("no-such-photos")}\n  try         a folder that exists; a recipe's data folders are relative to the recipe file",
            Assert.Throws<DatasetException>(() => ImageFolder.Read(new DataSetOptions { Folder = "no-such-photos" }, 64, TestContext.Current.CancellationToken)).Message);

    [Fact]
    public void A_folder_without_pictures_is_an_error_that_says_what_is_there()
    {
        using var empty = new DataFolder();
        Assert.Equal("no pictures in FOLDER\n  looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down\n  try         another folder, or put pictures into this one", empty.ErrorOf());
        using var phone = new DataFolder().Bytes("a.HEIC", [1]).Bytes("sub/b.heic", [1]).Bytes("sub/deeper/c.png", [1]).Bytes("d.psd", [1]);
        Assert.Equal("no pictures in FOLDER\n  looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down\n  found       2 .heic, 1 .psd, which cannot be read here\n  try         to convert them to PNG or JPEG", phone.ErrorOf());
    }

    [Fact]
    public void A_folder_without_captions_is_an_error_where_captions_were_asked_for()
    {
        using var folder = new DataFolder().Picture("a.png").Picture("b.png");
        Assert.Equal(
            "none of the 2 pictures in FOLDER can be used\n  a.png: no caption: neither a.txt nor a.caption is there\n  b.png: no caption: neither b.txt nor b.caption is there" +
            "\n  try         captions beside the pictures, or caption set to a text for all of them, or to \"file-name\"", folder.ErrorOf());
    }

    [Fact]
    public void No_picture_left_is_an_error_that_names_ten()
    {
        using var folder = new DataFolder();
        for (var i = 0; i < 12; i++) folder.Bytes($"{i:00}.png", []);
        Assert.Equal(
            "none of the 12 pictures in FOLDER can be used\n  " + string.Join("\n  ", Enumerable.Range(0, 10).Select(i => $"{i:00}.png: the file is empty (0 bytes)")) + "\n  and 2 more\n  try         other pictures: each line says what is wrong with one", folder.ErrorOf());
    }

    [Fact]
    public void Captions_come_from_names_or_one_text_for_all()
    {
        using var folder = new DataFolder().Picture("red_apple.png").Picture("a_green_book.png");
        Assert.Equal(["a green book", "red apple"], folder.Read(options => options with { Caption = "file-name" }).Images.Select(image => image.Caption));
        var scan = folder.Read(options => options with { Caption = "photo of {name}, studio" });
        Assert.Equal(["photo of a green book, studio", "photo of red apple, studio"], scan.Images.Select(image => image.Caption));
        Assert.Equal("FOLDER: 2 pictures, all captioned \"photo of {name}, studio\", 0 skipped", folder.Hide(scan.Report.Lines().First()));
    }

    [Theory]
    [InlineData("metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"a cat\"}\n\n{\"image_path\": \"sub/b.png\", \"caption\": \"a dog\", \"tags\": \"dog, wood\"}\n{\"file_name\": \"gone.png\", \"text\": \"x\"}")]
    [InlineData("metadata.json", "{\"a\": {\"caption\": \"a cat\"}, \"sub/b.png\": {\"caption\": \"a dog\", \"tags\": \"dog, wood\"}, \"gone.png\": {\"tags\": \"x\"}}")]
    public void Captions_come_from_metadata(string name, string content)
    {
        using var folder = new DataFolder().Picture("a.png").Picture("sub/b.png").Picture("c.png").Text(name, content);
        var scan = folder.Read(options => options with { Caption = "metadata" });
        Assert.Equal(["a cat", "a dog,dog, wood"], scan.Images.Select(image => image.Caption));
        Assert.Equal(
            [
                "FOLDER: 2 pictures, 2 captions, 1 skipped",
                "  64×64  2",
                $"  skipped c.png: no caption: {name} does not name it",
                $"  warning: {name} names pictures that are not there: gone.png",
            ], scan.Report.Lines().Select(folder.Hide));
    }

    [Fact]
    public void Metadata_that_cannot_be_read_is_an_error_with_its_place()
    {
        static DataSetOptions Metadata(DataSetOptions options) => options with { Caption = "metadata" };
        using var none = new DataFolder().Picture("a.png");
        Assert.Equal("no metadata in FOLDER\n  caption = \"metadata\" looks for metadata.jsonl or metadata.json there", none.ErrorOf(Metadata));
        var at = Path.DirectorySeparatorChar;
        using var nameless = new DataFolder().Picture("a.png").Text("metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"x\"}\n{\"text\": \"x\"}");
        Assert.Equal($"metadata without a picture: FOLDER{at}metadata.jsonl, line 2\n  an object with file_name (or image_path) is expected", nameless.ErrorOf(Metadata));
        using var broken = new DataFolder().Picture("a.png").Text("metadata.jsonl", "{\"file_name\": ");
        Assert.StartsWith($"metadata is not JSON: FOLDER{at}metadata.jsonl, line 1\n  ", broken.ErrorOf(Metadata), StringComparison.Ordinal);
        using var list = new DataFolder().Picture("a.png").Text("metadata.json", "[1]");
        Assert.Equal($"metadata is not a JSON object: FOLDER{at}metadata.json", list.ErrorOf(Metadata));
        using var flat = new DataFolder().Picture("a.png").Text("metadata.json", "{\"a.png\": \"a cat\"}");
        Assert.Equal($"metadata of a picture is no object: FOLDER{at}metadata.json, key a.png", flat.ErrorOf(Metadata));
        using var size = new DataFolder().Picture("a.png").Text("metadata.json", "{\"a.png\": {\"image_size\": 3}}");
        Assert.Equal($"image_size is not [width, height]: FOLDER{at}metadata.json, picture a.png", size.ErrorOf(Metadata));
    }

    [Fact]
    public void Folder_names_mean_repeats_only_where_asked_for()
    {
        using var folder = new DataFolder().Picture("10_tok dog/a.png").Picture("10_tok dog/b.png", caption: "own words").Picture("others/c.png", caption: "c");
        var plain = folder.Read();
        Assert.Equal([1, 1], plain.Images.Select(image => image.Repeats));
        Assert.Equal(["folder 10_tok dog looks like 10 repeats, which count only with folder_repeats = true"], plain.Report.Warnings);
        var repeated = folder.Read(options => options with { FolderRepeats = true, Repeats = 2 });
        Assert.Equal([("tok dog", 20), ("own words", 20)], repeated.Images.Select(image => (image.Caption, image.Repeats)));
        Assert.Equal(["folder others is left out: its name does not begin with a number of repeats"], repeated.Report.Warnings);
        Assert.Equal("FOLDER: 2 pictures, 1 caption, 0 skipped, 40 uses an epoch", folder.Hide(repeated.Report.Lines().First()));
    }

    [Fact]
    public void Lines_stay_alternatives_only_with_wildcards()
    {
        using var folder = new DataFolder().Picture("a.png", caption: "one\r\n\r\n two \n");
        Assert.Equal("one", folder.Read().Images[0].Caption);
        Assert.Equal("one\ntwo", folder.Read(options => options with { Wildcards = true }).Images[0].Caption);
    }

    [Fact]
    public void Sizes_are_those_after_the_turn_and_odd_ones_are_reported()
    {
        using var folder = new DataFolder().Bytes("turned.jpg", Samples.Jpeg(Samples.Picture(128, 64), orientation: 6)).Text("turned.txt", "a").Picture("small.png", 20, 20, "b");
        var scan = folder.Read();
        Assert.Equal(new PixelSize(64, 128), scan.Images[1].Size);
        Assert.Equal(new PixelSize(40, 88), scan.Images[1].Choice.Bucket);
        Assert.Equal(["1 of 2 pictures are smaller than their bucket and are enlarged, up to 3.2 times"], scan.Report.Warnings);
        var unenlarged = folder.Read(options => options with { Enlarge = false, BucketStep = 32 });
        Assert.Equal([new SkippedFile("small.png", "20×20 is too small for a bucket, and enlarge is false")], unenlarged.Report.Skipped);
    }

    [Fact]
    public void Problems_of_all_data_sets_come_together()
    {
        using var empty = new DataFolder();
        var options = new[] { new DataSetOptions { Folder = "gone" }, empty.Options };
        var message = empty.Hide(Assert.Throws<DatasetException>(() => TrainingData.Read(options, 64, heldOutShare: 0, TestContext.Current.CancellationToken)).Message);
        Assert.Equal($"no such folder of pictures: gone\n  looked for  {Path.GetFullPath("gone")}\n  try         a folder that exists; a recipe's data folders are relative to the recipe file\nno pictures in FOLDER\n  looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down\n  try         another folder, or put pictures into this one", message);
    }
}
