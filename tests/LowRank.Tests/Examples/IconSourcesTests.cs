using LowRank.Examples.Icons;
using LowRank.Testing;

namespace LowRank.Tests.Examples;

/// <summary>What the data's program says about packages, and what it leaves.</summary>
public class IconSourcesTests
{
    [Fact]
    public void All_missing_packages_are_named_at_once()
    {
        using var root = new TemporaryFolder();
        var sources = Sources.Under(root.FullName);
        Directory.CreateDirectory(sources.Tango);
        var problem = Assert.Throws<IconDataException>(() => sources.Require(anyVersion: true));
        Assert.Equal(
            "2 of 3 packages are missing:\n" +
            $"  fonts-noto-color-emoji: no {sources.Font}\n" +
            $"  unicode-data: no {sources.Names}\n" +
            "  install them: apt-get install fonts-noto-color-emoji unicode-data\n" +
            "  or unpack them into a folder and name it with --root: apt-get download fonts-noto-color-emoji unicode-data; for each: dpkg -x FILE.deb FOLDER", problem.Message);
    }

    [Fact]
    public void Other_versions_are_refused_unless_they_are_asked_for()
    {
        using var root = new TemporaryFolder();
        var sources = Sources.Under(root.FullName);
        foreach (var file in new[] { sources.Font, sources.Names })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, "other");
        }
        Directory.CreateDirectory(sources.Tango);
        const string other = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";   // of the text "other"
        var problem = Assert.Throws<IconDataException>(() => sources.Require(anyVersion: false));
        Assert.Equal(
            "2 of 2 files are of another version:\n" +
            $"  {sources.Font}: sha256 {other}, not e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec of fonts-noto-color-emoji 2.042\n" +
            $"  {sources.Names}: sha256 {other}, not 8445f23ac8388e096be19d0262e14fceff856ff52093f2356dc89485f1a853db of unicode-data 15.0.0\n" +
            "  take these versions (Debian 12 has them), or go on with yours by --any-version: pictures and counts will then differ from those that are written down", problem.Message);
        sources.Require(anyVersion: true);
    }

    [Fact]
    public void A_folder_that_holds_something_is_left_alone()
    {
        using var folder = new TemporaryFolder();
        var sources = IconPackages.Find();
        File.WriteAllText(Path.Combine(folder.FullName, "mine.txt"), "mine");
        var problem = Assert.Throws<IconDataException>(() => IconData.Write(sources, folder.FullName, anyVersion: false));
        Assert.Equal($"the folder is not empty: {folder.FullName}\n  name another one, or delete it first", problem.Message);
        Assert.Equal(["mine.txt"], Directory.GetFileSystemEntries(folder.FullName).Select(Path.GetFileName));
    }

    [Fact]
    public void A_font_without_the_emoji_is_told_of()
    {
        var sources = IconPackages.Find();
        var problem = Assert.Throws<IconDataException>(() => new EmojiFont(sources.Font).Bitmap("ab", "two letters"));
        Assert.Matches(
            "^\"two letters\" came out as \\d+x\\d+ with 4 channels, not as a bitmap of 136x128 with 4: .+NotoColorEmoji.ttf\n" +
            "  the text engine took another font, or this version of the font lacks the emoji; use the version that this program asks for$", problem.Message);
    }

    [Fact]
    public void Other_tango_icons_are_told_of()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(Path.Combine(folder.FullName, "apps"));
        File.WriteAllText(Path.Combine(folder.FullName, "apps", "new.svg"), "<svg/>");
        var problem = Assert.Throws<IconDataException>(() => TangoIcons.Read(folder.FullName));
        Assert.Equal(
            $"the Tango icons are of another version: {folder.FullName}\n" +
            "  213 that have captions are not there (actions_address-book-new, actions_appointment-new, actions_bookmark-new), 1 have no caption (apps_new)\n" +
            "  tango-icon-theme 0.8.90 has the 213 that are meant", problem.Message);
    }

    [Fact]
    public void A_short_list_gives_every_kind_of_picture_with_its_caption()
    {
        var real = IconPackages.Find();
        using var folder = new TemporaryFolder();
        var names = Path.Combine(folder.FullName, "names.txt");
        string[] wanted = ["# group:", "# subgroup:", "E0.6 red apple", "E0.6 automobile", " flag: France", " family: man, woman, girl\n", "E0.6 man\n", "E0.6 keycap: 5"];
        File.WriteAllLines(names, File.ReadLines(real.Names).Where(line => wanted.Any(part => (line + "\n").Contains(part, StringComparison.Ordinal))));
        var output = Path.Combine(folder.FullName, "data");
        var facts = IconData.Write(real with { Names = names }, output, anyVersion: true).ToDictionary(one => one.Folder, one => one.Pictures);
        var things = 3;   // apple, automobile, keycap
        Assert.Equal((things, 4 * things, 1, 1, 1, 213), (facts["plain/things"], facts["jittered/things"], facts["plain/flags"], facts["plain/families"], facts["plain/people"], facts["tango"]));
        Assert.Equal(facts["recoloured"], Directory.GetFiles(Path.Combine(output, "recoloured"), "*.png").Length);
        var captions = Directory.GetFiles(Path.Combine(output, "recoloured"), "*.txt").Select(file => File.ReadLines(file).First()).ToList();
        Assert.Contains("green apple", captions);
        Assert.DoesNotContain("blue apple", captions);
        Assert.DoesNotContain("green automobile", captions);
        Assert.Contains("blue apple", Directory.GetFiles(Path.Combine(output, "held-out", "colours"), "*.txt").Select(file => File.ReadLines(file).First()));
        Assert.Equal(["LICENSE-NOTE.md", "data.json", "recalled.txt", "sheet-plain.png", "sheet-variants.png"], Directory.GetFiles(output).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Contains("SIL OPEN FONT LICENSE Version 1.1", File.ReadAllText(Path.Combine(output, "LICENSE-NOTE.md")));
    }
}
