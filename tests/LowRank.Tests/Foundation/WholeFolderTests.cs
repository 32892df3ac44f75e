using LowRank.Foundation;

namespace LowRank.Tests.Foundation;

public sealed class WholeFolderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_folder_takes_the_place_of_the_one_before()
    {
        Write("one");
        Write("two");
        Assert.Equal("two", Written());
        Assert.Equal(["model"], Names());
    }

    [Fact]
    public void Where_the_new_one_cannot_take_the_place_what_was_there_stays()
    {
        Write("one");
        Assert.Throws<CheckpointException>(() => WholeFolder.Write(folder["model"], fresh => Directory.Delete(fresh)));
        Assert.Equal("one", Written());
        Assert.Equal(["model"], Names());
    }

    [Fact]
    public void What_a_process_left_that_was_killed_between_the_two_moves_is_put_back_before_the_next_write()
    {
        Write("one");
        Directory.Move(folder["model"], folder[".model.old"]);
        Assert.Throws<CheckpointException>(() => WholeFolder.Write(folder["model"], _ => throw new IOException("the disk is full")));
        Assert.Equal("one", Written());
    }

    private void Write(string text) => WholeFolder.Write(folder["model"], fresh => File.WriteAllText(Path.Combine(fresh, "text"), text));

    private string Written() => File.ReadAllText(Path.Combine(folder["model"], "text"));

    private string?[] Names() => [.. Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName)];
}
