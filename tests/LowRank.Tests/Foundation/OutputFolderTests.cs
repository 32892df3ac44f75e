using LowRank.Foundation;

namespace LowRank.Tests.Foundation;

public class OutputFolderTests
{
    // a file where a folder should be is an error for every user, root included; permissions are not
    [Fact]
    public void A_path_that_is_a_file_or_lies_below_one_is_refused()
    {
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "file");
        File.WriteAllText(file, "");
        var below = Path.Combine(file, "more", "run");
        Assert.Equal(
            $"""
            the output folder cannot be written: {file}
              reason    it is a file
              try       another output folder, or its permissions and the disk it lies on
            """, Refusal(file));
        Assert.Equal(
            $"""
            the output folder cannot be written: {below}
              reason    {file} is a file, and a folder should be there
              try       another output folder, or its permissions and the disk it lies on
            """, Refusal(below));
    }

    [Fact]
    public void What_the_system_refuses_is_told_in_its_words()
    {
        if (!OperatingSystem.IsLinux()) Assert.Skip("a file system that refuses every user is Linux's /proc");
        var problem = Assert.Throws<OptionsException>(() => OutputFolder.RequireWritable("/proc/lowrank/run"));
        Assert.Equal(
            $"""
            the output folder cannot be written: /proc/lowrank/run
              reason    {problem.InnerException!.Message}
              try       another output folder, or its permissions and the disk it lies on
            """, problem.Message);
    }

    [Fact]
    public void A_full_disk_is_refused_before_anything_is_made_and_asked_where_the_folder_will_lie()
    {
        using var folder = new TemporaryFolder();
        var path = Path.Combine(folder.Path, "more", "run");
        var asked = "";
        long Free(string existing)
        {
            asked = existing;
            return 12_000_000;
        }
        var problem = Assert.Throws<OptionsException>(() => OutputFolder.RequireWritable(path, 12_600_000, "fewer pictures", Free));
        Assert.Equal(
            $"""
            the disk is too full: 12 MB are free, about 13 MB are needed
              output    {path}
              try       another disk, or fewer pictures
            """, problem.Message);
        Assert.Equal(folder.Path, asked);
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
        OutputFolder.RequireWritable(path, 12_000_000, null, Free);
    }

    [Fact]
    public void A_folder_that_can_be_written_is_made_and_left_empty()
    {
        using var folder = new TemporaryFolder();
        var path = Path.Combine(folder.Path, "more", "run");
        OutputFolder.RequireWritable(path, 1);
        OutputFolder.RequireWritable(path);
        Assert.Empty(Directory.GetFileSystemEntries(path));
    }

    private static string Refusal(string path) => Assert.Throws<OptionsException>(() => OutputFolder.RequireWritable(path, 1_000_000)).Message;
}
