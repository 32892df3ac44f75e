using LowRank.Examples.Icons;
using LowRank.Testing;

namespace LowRank.Tests.Examples;

/// <summary>The pictures of examples/kid, against the list that the base was trained on.</summary>
public class KidPicturesTests
{
    [Fact]
    public void The_embedded_base_was_trained_on_every_one_of_the_other_pictures()
    {
        var all = Emoji.Read(File.ReadLines(IconPackages.Find().Names));
        var held = HeldOut.Emoji(all);
        var trained = all.Where(emoji => !held.Contains(emoji.Index) && emoji.Group != "People & Body" && emoji.Subgroup != "country-flag").Select(emoji => emoji.Caption).ToHashSet();
        var captions = Directory.GetFiles(Path.Combine(Repository.Root, "examples", "kid", "emoji"), "*.png").Select(picture => File.ReadAllText(Path.ChangeExtension(picture, ".txt")).Trim()).ToList();
        Assert.Equal(40, captions.Count);
        Assert.Equal([], captions.Except(trained));
    }
}
