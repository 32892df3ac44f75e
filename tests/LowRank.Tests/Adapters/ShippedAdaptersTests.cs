using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Adapters;

/// <summary>The adapters in models/adapters, and how they are named.</summary>
public class ShippedAdaptersTests
{
    public static TheoryData<string> Names => [.. ShippedAdapters.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Each_is_small_and_whole_and_fits_the_embedded_base(string name)
    {
        var report = InspectAdapter.Run(name);
        Assert.Equal(name + ".safetensors", Path.GetFileName(report.File));
        Assert.True(report.Bytes < 1_000_000, $"{report.Bytes} bytes");
        Assert.Empty(report.Trouble);
        using var family = FamilyDetector.Open("icons-64");
        using var file = AdapterFile.Open(name);
        using var set = AdapterSet.Load(family.ComponentNames.ToDictionary(part => part, family.Component), file, new AdapterLoadOptions());
        Assert.Equal(file.Modules.Count, set.Layers.Count);
        Assert.Empty(set.Warnings);
        Assert.All(file.Modules, module => Assert.True(module.DeltaNorm() > 0.01, $"{module.Name}: {module.DeltaNorm()}"));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Its_card_says_which_recipe_made_it_and_its_size(string name)
    {
        var card = File.ReadAllText(Path.Combine(Repository.Root, "models", "adapters", "README.md"));
        var length = new FileInfo(Path.Combine(Repository.Root, "models", "adapters", name + ".safetensors")).Length;
        Assert.Contains(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"| `{name}` | {length:N0} |"), card, StringComparison.Ordinal);
        var recipe = $"examples/adapters/{name["icons-".Length..]}/recipe.toml";
        Assert.Contains(recipe, card, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(Repository.Root, recipe)));
    }

    [Fact]
    public void A_name_that_is_nearly_one_of_them_says_which() => Assert.Equal(
        "no adapter is there; icons-tangoo (did you mean \"icons-tango\"?); name a file, or an adapter that comes with the program: icons-line, icons-pixel, icons-tango",
        Assert.Throws<CheckpointException>(() => AdapterFile.Open("icons-tangoo")).Message);

    [Fact]
    public void A_file_of_that_name_goes_first()
    {
        using var folder = new TemporaryFolder();
        var path = folder.Path("icons-tango");
        File.Copy(ShippedAdapters.Find("icons-line"), path);
        Assert.Equal(path, ShippedAdapters.Find(path));
        Assert.Equal("icons-tangoo.safetensors", ShippedAdapters.Find("icons-tangoo.safetensors"));
    }
}
