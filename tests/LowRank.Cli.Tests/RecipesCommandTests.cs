using System.Text.RegularExpressions;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Cli.Tests;

/// <summary>lora recipes: every starting point is whole, explained, and trains on the kind of model that it is for.</summary>
public sealed partial class RecipesCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    public static TheoryData<string> Names => [.. RecipeLibrary.All.Select(recipe => recipe.Name)];

    [Fact]
    public void All_are_listed_with_what_they_are_for()
    {
        Assert.Equal(0, shell.Lora("recipes"));
        Assert.Equal(["style", "subject", "dreambooth", "textual-inversion", "pivotal", "inpainting", "sdxl", "small-card", "cpu"], RecipeLibrary.All.Select(recipe => recipe.Name));
        Assert.All(RecipeLibrary.All, recipe => Assert.Contains($"\n {recipe.Name.PadRight(18)} {recipe.Summary[..60]}", "\n" + shell.Output, StringComparison.Ordinal));
        var page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "recipe.md"));
        Assert.All(RecipeLibrary.All, recipe => Assert.Contains($"\n| `{recipe.Name}` | ", page, StringComparison.Ordinal));
        var files = Directory.GetFiles(Path.Combine(Repository.Root, "src", "LowRank", "Recipes", "Library")).Select(Path.GetFileNameWithoutExtension).Order(StringComparer.Ordinal);
        Assert.Equal(files, RecipeLibrary.All.Select(recipe => recipe.Name).Order(StringComparer.Ordinal));
    }

    [Theory, MemberData(nameof(Names))]
    public void A_recipe_is_printed_and_written_as_it_is_and_never_over_another_file(string name)
    {
        Assert.Equal(0, shell.Lora("recipes", name));
        var printed = shell.Output;
        Assert.Equal(File.ReadAllText(Path.Combine(Repository.Root, "src", "LowRank", "Recipes", "Library", name + ".toml")).ReplaceLineEndings("\n"), printed);
        var file = shell.Path("mine.toml");
        Assert.Equal(0, shell.Lora("recipes", name, "--output", file));
        Assert.Equal(printed, File.ReadAllText(file));
        File.WriteAllText(file, "changed");
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("recipes", name, "--output", file));
        Assert.Equal($"the recipe is not written: {file} is there already, and may hold your changes; name another file\n", shell.Errors);
        Assert.Equal("changed", File.ReadAllText(file));
    }

    [Theory, MemberData(nameof(Names))]
    public void Every_line_says_why_and_every_source_is_named_at_the_top(string name)
    {
        var text = RecipeLibrary.Find(name).Text;
        Assert.All(text.Split('\n').Where(line => line.Contains(" = ", StringComparison.Ordinal) && !line.StartsWith('#')), line => Assert.Matches(@"= .*\S +# .{3,}", line));
        var top = text[..text.IndexOf("\n\n", StringComparison.Ordinal)];
        Assert.Contains($"lora train {name}.toml", top, StringComparison.Ordinal);
        Assert.Contains("docs/recipe.md", top, StringComparison.Ordinal);
        foreach (Match source in Source().Matches(text[top.Length..])) Assert.Contains(source.Value + " ", top, StringComparison.Ordinal);
        foreach (Match source in Source().Matches(top)) Assert.Contains(source.Value, text[top.Length..], StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Names))]
    public void It_plans_on_the_kind_of_model_that_it_is_for_and_trains_when_it_is_made_short(string name)
    {
        Assert.Equal(0, shell.Lora("recipes", name, "--output", shell.Path("mine.toml")));
        string[] train = ["train", shell.Path("mine.toml"), "--set", "model=" + Model(name), "--set", "data[0].folder=" + Pictures(), "--output", shell.Path("run")];
        Assert.Equal(0, shell.Lora([.. train, "--dry-run"]));
        Assert.Equal("", shell.Errors);
        Assert.Contains("64×64  20\n", shell.Output, StringComparison.Ordinal);
        // the same with fewer steps, drawings and prior pictures
        string[] shorter = ["--set", "training.steps=2", "--set", "training.warmup_steps=0", "--set", "training.save_every=0", "--set", "preview.every=0", "--set", "preview.steps=1", "--set", "preview.prompts=['a']"];
        string[] more = name switch
        {
            "subject" => ["--set", "text_encoder.stop_step=1"],
            "pivotal" => ["--set", "inversion.steps=1"],
            "dreambooth" => ["--set", "prior.count=20", "--set", "prior.steps=1"],
            _ => [],
        };
        Assert.Equal(0, shell.Lora([.. train, .. shorter, .. more]));
        Assert.True(File.Exists(shell.Path("run", "adapter.safetensors")));
    }

    [Fact]
    public void A_name_that_is_none_and_a_file_without_a_name()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("recipes", "sdlx"));
        Assert.Equal("there is no recipe \"sdlx\" to start from (did you mean \"sdxl\"?); there are style, subject, dreambooth, textual-inversion, pivotal, inpainting, sdxl, small-card, cpu\n", shell.Errors);
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("recipes", "--output", shell.Path("x.toml")));
        Assert.Equal("--output needs the name of a recipe: lora recipes NAME --output FILE\n", shell.Errors);
    }

    private static string Model(string name) => name == "cpu" ? "icons-64" : Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", name switch { "sdxl" => "sdxl", "inpainting" => "sd1-inpaint", _ => "sd1" });

    private static string Pictures() => Path.Combine(Repository.Root, "examples", "tango", "pictures");

    [GeneratedRegex(@"\[(kohya|diffusers|onetrainer|toolkit|guides|2022|paper|ours|measured|tango)\]")]
    private static partial Regex Source();
}
