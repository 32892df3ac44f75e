using LowRank.Data;

namespace LowRank.Tests.Data;

public sealed class PictureNamesTests
{
    [Fact]
    public void Pictures_of_one_folder_are_called_by_their_path_in_it()
    {
        using var folder = new DataFolder().Picture("a.png", caption: "a").Picture("more/b.png", caption: "b");
        Assert.Equal(["a.png", "more/b.png"], Names(folder.Options));
    }

    [Fact]
    public void Pictures_of_several_folders_are_called_by_their_path_from_the_folder_that_holds_all()
    {
        using var folder = new DataFolder().Picture("dogs/a.png", caption: "a").Picture("cats/young/a.png", caption: "b").Picture("cats/old/a.png", caption: "c");
        Assert.Equal(["dogs/a.png", "cats/young/a.png", "cats/old/a.png"],
            Names(folder.Options with { Folder = Path.Combine(folder.FullName, "dogs") }, folder.Options with { Folder = Path.Combine(folder.FullName, "cats", "young") }, folder.Options with { Folder = Path.Combine(folder.FullName, "cats", "old") + Path.DirectorySeparatorChar }));
        Assert.Equal(["young/a.png", "old/a.png"],
            Names(folder.Options with { Folder = Path.Combine(folder.FullName, "cats", "young") }, folder.Options with { Folder = Path.Combine(folder.FullName, "cats", "old") }));
    }

    private static IEnumerable<string> Names(params DataSetOptions[] sets) => TrainingData.Read(sets, 64, heldOutShare: 0, TestContext.Current.CancellationToken).Images.Select(image => image.Name);
}
