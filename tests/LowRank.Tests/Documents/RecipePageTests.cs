using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Documents;

/// <summary>docs/recipe.md says what the records say: every key, default, range and example of it is tried.</summary>
public sealed partial class RecipePageTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Keys => [.. RecipePage.Rows.Select(row => row.Path)];

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_page_has_every_key_of_the_records_and_no_other() =>
        Assert.Equal(
            RecipePage.Sections.SelectMany(section => section.Value.Keys.Select(key => section.Key.Length == 0 ? key : $"{section.Key}.{key}")).Order(),
            RecipePage.Rows.Select(row => row.Path).Order());

    [Theory]
    [MemberData(nameof(Keys))]
    public void The_default_on_the_page_is_the_one_of_the_record(string path)
    {
        var row = Row(path);
        var property = RecipePage.PropertyOf(row);
        var required = property.CustomAttributes.Any(attribute => attribute.AttributeType.FullName == "System.Runtime.CompilerServices.RequiredMemberAttribute");
        Assert.Equal(required, row.Default == "required");
        if (required) return;
        var value = property.GetValue(Activator.CreateInstance(property.DeclaringType!));
        Assert.Equal(value is null, row.Default.StartsWith("unset: ", StringComparison.Ordinal));
        if (value is null) return;
        Assert.Equal(RecipeFile.Write(Read(RecipePage.Recipe(row.Section, [], RecipePage.MethodOf(row.Section, row.Key)))), RecipeFile.Write(Read(RecipePage.Recipe(row.Section, [(row.Key, row.DefaultValue!)]))));
    }

    [Theory]
    [MemberData(nameof(Keys))]
    public void The_example_on_the_page_is_read_and_changes_the_key(string path)
    {
        var row = Row(path);
        if (path is "adapter.overrides" or "training.rates") return;   // its example is the next table
        var (_, text) = Assert.Single(row.Examples, example => example.Key == row.Key);
        var read = RecipeFile.Write(Read(RecipePage.Recipe(row.Section, row.Examples)));
        Assert.Contains(row.Key + " = ", read, StringComparison.Ordinal);
        if (row.DefaultValue is { } usual) Assert.NotEqual(usual, text);
    }

    [Theory]
    [MemberData(nameof(Keys))]
    public void The_range_on_the_page_is_the_one_that_is_checked(string path)
    {
        var row = Row(path);
        var type = RecipePage.PropertyOf(row).PropertyType;
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type == typeof(bool)) Assert.Equal(["true", "false"], row.Words);
        else if (type.IsEnum) Assert.Equal(Enum.GetNames(type).Select(RecipeFile.Word), row.Words);
        else if (path is "preview.sampler" or "prior.sampler") Assert.Equal(Generate.SamplerNames, row.Words);
        else if (path == "adapter.targets") Assert.Equal(TargetSelector.Presets, row.Words);
        else if (row.Range == "any number") Read(RecipePage.Recipe(row.Section, [.. row.Examples, (row.Key, "-1.5")]));
        else if (type == typeof(int) || type == typeof(double)) CheckNumbers(row, whole: type == typeof(int));
        else if (type == typeof(long)) Assert.Equal("any whole number", row.Range);
        else Assert.False(string.IsNullOrWhiteSpace(row.Range));
    }

    [Fact]
    public void The_short_and_the_full_recipe_of_the_page_are_read_and_the_full_one_has_every_key()
    {
        var recipes = TomlBlock().Matches(RecipePage.Text).Select(match => match.Groups[1].Value).ToList();
        Assert.Equal(5, recipes.Count);
        Read(recipes[0]);
        foreach (var row in RecipePage.Rows.Where(row => row.Path is not ("adapter.overrides" or "training.rates")))
        {
            var recipe = recipes[RecipePage.MethodOf(row.Section, row.Key) switch { "pivotal" => 2, "full" => row.Section == "vae" ? 4 : 3, _ => 1 }];
            Assert.True(Regex.IsMatch(recipe, $@"^{row.Key} *= ", RegexOptions.Multiline), $"the full recipe lacks {row.Path}");
            Assert.Contains(row.Key + " = ", RecipeFile.Write(Read(recipe)), StringComparison.Ordinal);
        }
    }

    private static RecipeRow Row(string path) => RecipePage.Rows.Single(row => row.Path == path);

    /// <summary>What the words allow is read, and what lies just outside is refused by its key.</summary>
    private void CheckNumbers(RecipeRow row, bool whole)
    {
        var match = Numbers().Match(row.Range);
        Assert.True(match.Success, $"{row.Path}: the test does not understand the range \"{row.Range}\"");
        var outside = whole ? 1 : 0.5;
        List<double> good = [], bad = [];
        if (match.Groups["above"] is { Success: true } above)
        {
            bad.Add(Number(above.Value));
            good.Add(Number(above.Value) + outside);
            if (match.Groups["top"] is { Success: true } top) bad.Add(Number(top.Value));
        }
        else
        {
            var low = Number(match.Groups["low"].Value);
            good.Add(low);
            bad.Add(low - outside);
        }
        if (match.Groups["multiple"] is { Success: true } multiple) bad.Add(good[0] + Number(multiple.Value) / 2);
        if (match.Groups["high"] is { Success: true } high)
        {
            var top = high.Value == "`steps`" ? 1000 : Number(high.Value);
            (match.Groups["below"].Success ? bad : good).Add(top);
            bad.Add(top + outside);
        }
        foreach (var value in good) Read(With(value));
        foreach (var value in bad)
        {
            var problem = Assert.Throws<OptionsException>(() => Read(With(value)));
            Assert.Contains(row.Key, problem.Message, StringComparison.Ordinal);
        }

        string With(double value) => RecipePage.Recipe(row.Section, [.. row.Examples, (row.Key, value.ToString(CultureInfo.InvariantCulture))]);
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    private IRunOptions Read(string recipe)
    {
        var path = folder.Path("recipe.toml");
        File.WriteAllText(path, recipe);
        return TrainingMethods.Of(path) switch
        {
            TrainingMethod.Lora or TrainingMethod.Dreambooth => TrainLoraOptions.Read(path),
            TrainingMethod.TextualInversion => TrainTextualInversionOptions.Read(path),
            TrainingMethod.Pivotal => TrainPivotalOptions.Read(path),
            _ => TrainFullOptions.Read(path),
        };
    }

    [GeneratedRegex(@"```toml\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex TomlBlock();

    [GeneratedRegex(@"^(above (?<above>\d+)( and below (?<top>\d+))?|(?<low>\d+) or more(, a multiple of (?<multiple>\d+))?|(?<low>\d+) to (?<below>below )?(?<high>\d+|`steps`))$")]
    private static partial Regex Numbers();
}
