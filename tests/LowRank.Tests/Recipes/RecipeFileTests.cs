using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

public sealed class RecipeFileTests : IDisposable
{
    private const string Minimal = """
        model = "icons-64"
        output = "runs/mine"
        [[data]]
        folder = "pictures"

        """;

    private readonly string folder = Directory.CreateTempSubdirectory("lowrank-recipe-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void What_the_recipe_does_not_say_keeps_its_default()
    {
        var options = Read(Minimal);
        Assert.Equal("icons-64", options.Model);
        Assert.Equal(new TrainingOptions(), options.Training);
        Assert.Equal(Path.Combine(folder, "pictures"), Assert.Single(options.Data).Folder);
    }

    [Fact]
    public void The_resolved_recipe_reads_back_as_the_same_options()
    {
        var options = Read(Minimal + """
            [adapter]
            rank = 4
            targets = ["attention", "unet:**.conv1"]
            [[adapter.overrides]]
            pattern = "unet:mid_block.**"
            rank = 2
            [training]
            learning_rate = 3e-7
            schedule = "cosine-with-restarts"
            precision = "bf16"
            [preview]
            prompts = ["a \"quoted\" word", "back\\slash"]
            """);
        var text = RecipeFile.Write(options);
        var again = Read(text);
        Assert.Equal(text, RecipeFile.Write(again));
        Assert.Equal(options.Training, again.Training);
        Assert.Equal(options.Adapter.Targets, again.Adapter.Targets);
        Assert.Equal(options.Adapter.Overrides, again.Adapter.Overrides);
        Assert.Equal(options.Preview.Prompts, again.Preview.Prompts);
    }

    [Fact]
    public void Every_problem_is_named_at_once()
    {
        var problem = Assert.Throws<OptionsException>(() => Read("""
            modle = "icons-64"
            output = 3
            method = "magic"
            [[data]]
            folder = "pictures"
            repeats = "two"
            [training]
            stpes = 500
            steps = 2.5
            """));
        Assert.Equal($"""
            7 problems in {Path.Combine(folder, "recipe.toml")}

            modle            unknown key; did you mean model?
            output           the number 3 where a text in quotes is expected
            method           "magic" is none of lora, textual-inversion, pivotal, full, dreambooth
            data[0].repeats  the text "two" where a whole number is expected
            training.stpes   unknown key; did you mean training.steps?
            training.steps   the number 2.5 where a whole number is expected
            model            missing, and it has no default
            """, problem.Message);
    }

    [Fact]
    public void Every_impossible_value_is_named_at_once()
    {
        var problem = Assert.Throws<OptionsException>(() => Read(Minimal + """
            [adapter]
            rank = 0
            [training]
            steps = -1
            learning_rate = 0
            [preview]
            sampler = "eulr"
            """));
        Assert.Equal($"""
            4 problems in {Path.Combine(folder, "recipe.toml")}

            adapter.rank            0; must be 1 or more
            training.steps          -1; must be 1 or more
            training.learning_rate  0; must be a number above 0
            preview.sampler         eulr; must be one of {string.Join(", ", Generate.SamplerNames)}; did you mean euler?
            """, problem.Message);
    }

    [Theory]
    [InlineData("training.steps=7", 7)]
    [InlineData("training.steps = 9", 9)]
    public void A_setting_overrides_the_file(string setting, int steps)
    {
        Assert.Equal(steps, Read(Minimal + "[training]\nsteps = 3\n", setting).Training.Steps);
        Assert.Equal(steps, Read(Minimal, setting).Training.Steps);
    }

    [Fact]
    public void A_setting_reaches_into_lists_and_takes_words_without_quotes()
    {
        var options = Read(Minimal, "data[0].folder=other", "training.schedule=constant", "adapter.targets=all-linear");
        Assert.Equal(Path.Combine(folder, "other"), options.Data[0].Folder);
        Assert.Equal(LearningRateShape.Constant, options.Training.Schedule);
        Assert.Equal(["all-linear"], options.Adapter.Targets);
    }

    [Theory]
    [InlineData("training.steps", "--set takes key=value, such as training.steps=500")]
    [InlineData("data[3].folder=x", "--set finds no such table in the recipe")]
    public void A_setting_that_reaches_nothing_is_an_error(string setting, string text)
    {
        var problem = Assert.Throws<OptionsException>(() => Read(Minimal, setting));
        Assert.EndsWith(text, problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Text_that_is_no_TOML_says_where()
    {
        var problem = Assert.Throws<OptionsException>(() => Read("model = \n"));
        Assert.StartsWith($"{Path.Combine(folder, "recipe.toml")} is not valid TOML: ", problem.Message, StringComparison.Ordinal);
        Assert.Contains("(1,", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_recipe_says_what_to_give()
    {
        var problem = Assert.Throws<OptionsException>(() => TrainLoraOptions.Read("nowhere.toml"));
        Assert.Equal("there is no recipe nowhere.toml: give the path of a .toml file (lora recipes has some to start from)", problem.Message);
    }

    private TrainLoraOptions Read(string text, params string[] settings)
    {
        var path = Path.Combine(folder, "recipe.toml");
        File.WriteAllText(path, text);
        return TrainLoraOptions.Read(path, settings);
    }
}
