using LowRank.Testing;

namespace LowRank.Cli.Tests;

public sealed class BenchCommandTests : IDisposable
{
    private static readonly string Recipe = Path.Combine(Repository.Root, "examples", "kid", "recipe.toml");

    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void An_unknown_arm_and_an_unknown_key()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("bench", "kid", Recipe, "--set", "arms=[\"full\", \"lora\"]", "--set", "fold=2"));
        Assert.Equal($"""
            2 problems in {Recipe}

            fold     unknown key; did you mean folds?
            arms[1]  lora; must be full, textual-inversion, or lora- with a rank, such as lora-4

            """.ReplaceLineEndings("\n"), shell.Errors);
        Assert.Equal("", shell.Output);
    }

    [Fact]
    public void A_part_that_the_experiment_does_not_have()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("bench", "kid", Recipe, "--quick", "--output", shell.Path("kid"), "--part", "judge/lora-4/fold-3/seed-0"));
        Assert.Equal("the experiment has no part judge/lora-4/fold-3/seed-0 (did you mean \"judge/lora-4/fold-0/seed-0\"?); its parts are time/full/round-0 to judge/lora-4/fold-2/seed-0\n", shell.Errors);
    }

    /// <summary>Each part in a process of its own, as the command makes them.</summary>
    [Fact]
    public void The_experiment_by_processes_of_its_own()
    {
        Directory.CreateDirectory(shell.Path("set"));
        foreach (var file in Directory.GetFiles(Path.Combine(Repository.Root, "examples", "kid", "pictures", "others")).Order(StringComparer.Ordinal).Take(12)) File.Copy(file, shell.Path("set", Path.GetFileName(file)));
        var recipe = shell.Write("kid.toml", $$"""
            model = "{{Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1").Replace('\\', '/')}}"
            output = "{{shell.Path("kid").Replace('\\', '/')}}"
            pictures = "set"
            folds = 2
            validation_every = 2
            arms = ["lora-1"]
            workers = 2
            quick = ["seeds=[5]"]
            [learning_rates]
            lora = [1e-3]
            [training]
            steps = 1
            [draw]
            steps = 1
            [timing]
            rounds = 0
            """);
        Assert.True(CommandLine.Done == shell.Lora("bench", "kid", recipe, "--quick", "--dry-run"), shell.Errors);
        Assert.Contains("6; the first fold learns 2, chooses rates by 1 and is judged by 3", shell.Output, StringComparison.Ordinal);
        Assert.Contains("0 to choose learning rates, 2 to be judged; 2 steps together", shell.Output, StringComparison.Ordinal);
        Assert.False(Directory.Exists(shell.Path("kid")));

        Assert.True(CommandLine.Done == shell.Lora("bench", "kid", recipe, "--quick"), shell.Errors);
        Assert.Contains("4/4   judge/lora-1/fold-", shell.Output, StringComparison.Ordinal);
        Assert.Contains("- KID (icons), lora-1 less base: ", shell.Output, StringComparison.Ordinal);
        Assert.Equal("", shell.Errors);
        Assert.True(File.Exists(shell.Path("kid", "report.html")));

        // a part that fails says why, in its own words
        File.Delete(shell.Path("kid", "parts", "base", "fold-1", "part.json"));
        foreach (var picture in Directory.GetFiles(shell.Path("kid", "data", "fold-1"), "*.png", SearchOption.AllDirectories)) File.WriteAllText(picture, "no picture");
        Assert.Equal(CommandLine.Failed, shell.Lora("bench", "kid", recipe, "--quick", "--resume", "--set", "workers=1"));
        Assert.StartsWith("base/fold-1 could not be made\n", shell.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void Going_on_where_nothing_was_begun()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("bench", "kid", Recipe, "--output", shell.Path("kid"), "--part", "base/fold-0"));
        Assert.StartsWith($"there is no experiment in {shell.Path("kid")}\n", shell.Errors, StringComparison.Ordinal);
        Assert.False(Directory.Exists(shell.Path("kid")));
    }
}
