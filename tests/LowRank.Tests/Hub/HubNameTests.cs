using LowRank.Hub;

namespace LowRank.Tests.Hub;

public class HubNameTests
{
    [Theory]
    [InlineData("org/name", "org/name", "main", null)]
    [InlineData("org/name@fp16", "org/name", "fp16", null)]
    [InlineData("org/na.me-1_x@v1.0-rc", "org/na.me-1_x", "v1.0-rc", null)]
    [InlineData("org/name@refs/pr/12", "org/name", "refs/pr/12", null)]
    [InlineData("org/name/file.safetensors", "org/name", "main", "file.safetensors")]
    [InlineData("org/name/a/b c/file.ckpt", "org/name", "main", "a/b c/file.ckpt")]
    [InlineData("org/name@v1/a/file.safetensors", "org/name", "v1", "a/file.safetensors")]
    [InlineData("org/name@refs/pr/1/file.safetensors", "org/name", "refs/pr/1", "file.safetensors")]
    public void A_name_is_read_and_written(string text, string repository, string revision, string? file)
    {
        var name = HubName.Of(text);
        Assert.Equal((repository, revision, file), (name?.Repository, name?.Revision, name?.File));
        Assert.Equal(text, name!.ToString());
    }

    [Theory]
    [InlineData("name")]
    [InlineData("org/name/folder")]
    [InlineData("./org/name")]
    [InlineData("../name")]
    [InlineData("org/..")]
    [InlineData("/org/name")]
    [InlineData("~/name")]
    [InlineData("C:/name")]
    [InlineData("org\\name")]
    [InlineData("org/")]
    [InlineData("org/name@")]
    [InlineData("org/name@../../x")]
    [InlineData("org/name@a/b")]
    [InlineData("org/name/../../x.safetensors")]
    [InlineData("org/na--me")]
    [InlineData("org/name with blanks")]
    [InlineData("https://huggingface.co/org/name")]
    public void What_only_a_path_can_be_is_no_name(string text) => Assert.Null(HubName.Of(text));

    [Fact]
    public void A_commit_is_shortened_for_people() =>
        Assert.Equal("org/name@0123456/x.ckpt", HubName.Of("org/name@0123456789abcdef0123456789abcdef01234567/x.ckpt")!.Short);

    [Theory]
    [InlineData("unet/config.json", true)]
    [InlineData("a b/c.json", true)]
    [InlineData("", false)]
    [InlineData("/etc/passwd", false)]
    [InlineData("a//b", false)]
    [InlineData("a/./b", false)]
    [InlineData("a/../b", false)]
    [InlineData("a/b.", false)]
    [InlineData("a/b ", false)]
    [InlineData("a\\b", false)]
    [InlineData("c:b", false)]
    [InlineData("a\0b", false)]
    public void Paths_that_stay_in_their_folder_on_every_system_are_told_from_others(string path, bool safe) => Assert.Equal(safe, HubName.IsSafe(path));
}
