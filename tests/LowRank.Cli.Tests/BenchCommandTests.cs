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

    [Fact]
    public void Going_on_where_nothing_was_begun()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("bench", "kid", Recipe, "--output", shell.Path("kid"), "--part", "base/fold-0"));
        Assert.StartsWith($"there is no experiment in {shell.Path("kid")}\n", shell.Errors, StringComparison.Ordinal);
        Assert.False(Directory.Exists(shell.Path("kid")));
    }
}
