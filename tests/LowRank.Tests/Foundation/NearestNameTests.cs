using CsCheck;
using LowRank.Foundation;

namespace LowRank.Tests.Foundation;

public class NearestNameTests
{
    private static readonly string[] Known = ["learning_rate", "rank", "alpha", "steps", "seed"];

    [Theory]
    [InlineData("learning_rat", "learning_rate")]
    [InlineData("Learning-Rate", "learning_rate")]
    [InlineData("rnak", "rank")]
    [InlineData("RANK", "rank")]
    [InlineData("step", "steps")]
    [InlineData("dropout", null)]
    [InlineData("", null)]
    public void The_name_that_was_probably_meant_is_found(string name, string? expected)
    {
        Assert.Equal(expected, NearestName.Of(name, Known));
        Assert.Equal(expected is null ? "" : $" (did you mean \"{expected}\"?)", NearestName.Hint(name, Known));
    }

    [Theory]
    [InlineData("", "", 0)]
    [InlineData("abc", "", 3)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("abcd", "abdc", 1)]
    [InlineData("ca", "abc", 3)]
    public void The_distance_counts_edits(string a, string b, int expected) => Assert.Equal(expected, NearestName.Distance(a, b));

    [Fact]
    public void The_distance_is_symmetric_and_bounded() => Gen.Select(Gen.String[Gen.Char["abc"], 0, 8], Gen.String[Gen.Char["abc"], 0, 8]).Sample((a, b) =>
    {
        var distance = NearestName.Distance(a, b);
        Assert.Equal(distance, NearestName.Distance(b, a));
        Assert.InRange(distance, Math.Abs(a.Length - b.Length), Math.Max(a.Length, b.Length));
        Assert.Equal(a == b, distance == 0);
    });
}
