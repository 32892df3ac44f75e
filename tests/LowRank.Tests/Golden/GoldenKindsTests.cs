using System.Text.RegularExpressions;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>
/// No golden case is passed over in silence: each in the fixtures folder is of a kind that a test here takes,
/// or of one that is listed below as not built yet.
/// </summary>
public partial class GoldenKindsTests
{
    /// <summary>Kinds that wait for what they test. A kind leaves the list with the change that builds it.</summary>
    internal static readonly string[] NotBuiltYet =
    [
        "diffusion/flow_training",
    ];

    private static readonly Lazy<string[]> Taken = new(() =>
    {
        var sources = Directory.GetFiles(Path.Combine(Repository.Root, "tests"), "*.cs", SearchOption.AllDirectories);
        return [.. sources.Where(path => Path.GetFileName(path) != "GoldenKindsTests.cs").SelectMany(path => TakenIn(File.ReadAllText(path))).Distinct().Order(StringComparer.Ordinal)];
    });

    [Fact]
    public void Every_case_is_of_a_kind_that_is_taken_or_listed()
    {
        var unknown = GoldenCase.All().Where(item => !IsTaken(item) && !NotBuiltYet.Any(kind => GoldenCase.IsOfKind(item, kind))).Select(item => $"{item.Id} ({item.Kind})").ToList();
        Assert.True(unknown.Count == 0, $"no test takes these cases, and none is listed as not built yet: {string.Join(", ", unknown)}");
    }

    [Fact]
    public void Cases_of_kinds_that_are_not_built_yet_are_counted_by_name()
    {
        var waiting = GoldenCase.All().Where(item => NotBuiltYet.Any(kind => GoldenCase.IsOfKind(item, kind))).Select(item => item.Id).ToList();
        if (waiting.Count > 0) Assert.Skip($"not built yet, so not checked: {waiting.Count} cases: {string.Join(", ", waiting)}");
    }

    [Fact]
    public void The_committed_fixtures_wait_for_nothing()
    {
        if (GoldenCase.FixturesFolder != Path.Combine(Repository.Root, "tests", "fixtures")) Assert.Skip($"this run reads {GoldenCase.FixturesFolder}");
        Assert.DoesNotContain(GoldenCase.All(), item => NotBuiltYet.Any(kind => GoldenCase.IsOfKind(item, kind)));
    }

    [Fact]
    public void A_kind_is_not_both_built_and_waiting() =>
        Assert.DoesNotContain(Taken.Value, kind => NotBuiltYet.Any(waiting => waiting == kind || waiting.EndsWith("/" + kind, StringComparison.Ordinal)));

    [Theory]
    [InlineData("GoldenCase.OfKind(\"unet\")", new[] { "unet" })]
    [InlineData("GoldenCase.OfKind(\"a\", \"images/b\")", new[] { "a", "images/b" })]
    [InlineData("OfKind(params string[] kinds)", new string[0])]
    public void Kinds_are_found_in_the_text_of_a_test(string source, string[] kinds) => Assert.Equal(kinds, TakenIn(source));

    private static bool IsTaken((string Id, string Kind) item) => Taken.Value.Any(kind => GoldenCase.IsOfKind(item, kind));

    private static IEnumerable<string> TakenIn(string source) =>
        Call().Matches(source).SelectMany(call => Literal().Matches(call.Value)).Select(literal => literal.Groups[1].Value);

    [GeneratedRegex(@"\bOfKind\([^)]*\)")]
    private static partial Regex Call();

    [GeneratedRegex("\"([^\"]+)\"")]
    private static partial Regex Literal();
}
