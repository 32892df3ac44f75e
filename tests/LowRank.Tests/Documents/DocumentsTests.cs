using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Families;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Documents;

/// <summary>What the pages point to is there, and what they quote is what stands there.</summary>
public sealed partial class DocumentsTests
{
    private static readonly string[] Pages =
    [
        .. Directory.GetFiles(Repository.Root, "*.md"),
        .. Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md"),
        .. Directory.GetFiles(Path.Combine(Repository.Root, "bench"), "*.md"),
    ];

    public static TheoryData<string> Documents => [.. Pages.Select(page => Path.GetRelativePath(Repository.Root, page).Replace('\\', '/'))];

    [Theory]
    [MemberData(nameof(Documents))]
    public void Links_lead_to_files_and_headings_of_this_repository(string document)
    {
        var page = Path.Combine(Repository.Root, document);
        foreach (var target in Link().Matches(File.ReadAllText(page)).Select(match => match.Groups[1].Value).Where(target => !target.Contains("://", StringComparison.Ordinal)))
        {
            var parts = target.Split('#');
            var file = parts[0].Length == 0 ? page : Path.Combine(Path.GetDirectoryName(page)!, parts[0]);
            Assert.True(Path.Exists(file), $"{document} links to {target}, which is not there");
            if (parts.Length > 1) Assert.Contains(parts[1], Heading().Matches(File.ReadAllText(file)).Select(match => Anchor(match.Groups[1].Value)));
        }
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void Tests_that_a_page_names_exist(string document)
    {
        var names = TestName().Matches(File.ReadAllText(Path.Combine(Repository.Root, document))).ToList();
        foreach (var match in names)
        {
            var sources = Directory.GetFiles(Path.Combine(Repository.Root, "tests"), match.Groups["class"].Value + ".cs", SearchOption.AllDirectories);
            Assert.True(sources.Length > 0, $"{document} names {match.Groups["class"].Value}, which no file in tests has");
            Assert.Contains($" {match.Groups["test"].Value}(", string.Concat(sources.Select(File.ReadAllText)), StringComparison.Ordinal);
        }
        if (document == "docs/reproducibility.md") Assert.NotEmpty(names);
    }

    [Fact]
    public void The_readme_shows_a_region_of_an_example_that_runs()
    {
        var readme = File.ReadAllText(Path.Combine(Repository.Root, "README.md"));
        var shown = Assert.Single(CSharpBlock().Matches(readme)).Groups[1].Value;
        var region = Assert.Single(Region().Matches(File.ReadAllText(Path.Combine(Repository.Root, "examples", "train-lora.cs")))).Groups[1].Value;
        var lines = region.TrimEnd().Split('\n');
        Assert.Equal(string.Join('\n', lines.Select(line => line.Length == 0 ? line : line[4..])) + "\n", shown);
    }

    [Fact]
    public void Every_example_is_run_by_the_check_of_a_fresh_clone()
    {
        var check = File.ReadAllText(Path.Combine(Repository.Root, ".ci", "run"));
        var examples = Directory.GetFiles(Path.Combine(Repository.Root, "examples"), "*.cs").Select(Path.GetFileName).ToList();
        Assert.NotEmpty(examples);
        Assert.All(examples, example => Assert.Contains($"dotnet run -c Release examples/{example} -- ", check, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("README.md")]
    [InlineData("docs/memory.md")]
    public void Numbers_with_a_unit_are_those_that_were_measured(string document)
    {
        var measured = Measure().Matches(File.ReadAllText(Path.Combine(Repository.Root, "bench", "RESULTS.md"))).Select(match => match.Value).ToHashSet();
        var claimed = Measure().Matches(File.ReadAllText(Path.Combine(Repository.Root, document))).Select(match => match.Value).ToList();
        Assert.NotEmpty(claimed);
        Assert.All(claimed, number => Assert.Contains(number, measured));
    }

    [Fact]
    public void The_page_of_generate_has_every_option_with_its_default_and_every_sampler()
    {
        var page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "generate.md"));
        AssertRows(page, new GenerateOptions { Model = "", Prompt = "", Output = "" });
        var samplers = page.Split("## Samplers")[1].Split('\n').Where(line => line.StartsWith("| `", StringComparison.Ordinal)).SelectMany(line => RecipePage.Spans(line.Split('|')[1]));
        Assert.Equal(Generate.SamplerNames, samplers);
    }

    [Fact]
    public void The_page_of_evaluate_has_every_option_with_its_default() =>
        AssertRows(File.ReadAllText(Path.Combine(Repository.Root, "docs", "evaluate.md")), new EvaluateOptions { Real = "", Output = "" });

    /// <summary>A row for every property, with its default.</summary>
    private static void AssertRows(string page, object defaults)
    {
        foreach (var property in defaults.GetType().GetProperties().Where(property => property.CanWrite))
        {
            if (property.PropertyType == typeof(ModelFileOptions))
            {
                foreach (var own in property.PropertyType.GetProperties().Where(own => own.CanWrite)) Assert.Contains($"`--{RecipeFile.Key(own.Name).Replace('_', '-')}`", page, StringComparison.Ordinal);
                continue;
            }
            var name = "--" + (property.Name == "Adapters" ? "adapter" : property.Name == "Embeddings" ? "embedding" : RecipeFile.Key(property.Name).Replace('_', '-'));
            var row = Assert.Single(page.Split('\n'), line => line.StartsWith('|') && line.Split('|')[1].Contains($"`{name}`", StringComparison.Ordinal));
            var shown = row.Split('|')[2].Trim();
            var expected = property.GetValue(defaults) switch
            {
                "" => "required",
                string text => $"`{text}`",
                Enum word => $"`{RecipeFile.Word(word.ToString())}`",
                false => "off",
                IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
                _ => shown,   // unset: told in words
            };
            Assert.Equal(expected, shown);
        }
    }

    private static string Anchor(string heading) => OtherThanLetters().Replace(heading.ToLowerInvariant(), "").Replace(' ', '-');

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex("^#+ (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex OtherThanLetters();

    [GeneratedRegex(@"`(?<class>\w+Tests)\.(?<test>\w+)`")]
    private static partial Regex TestName();

    [GeneratedRegex(@"\b\d+(\.\d+)? (s|ms|kB|MB|GB|MiB|GiB)\b")]
    private static partial Regex Measure();

    [GeneratedRegex(@"```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();

    [GeneratedRegex(@"#region README\n(.*?) *#endregion", RegexOptions.Singleline)]
    private static partial Regex Region();
}
