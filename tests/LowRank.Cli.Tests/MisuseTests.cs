namespace LowRank.Cli.Tests;

public sealed class MisuseTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Theory]
    [InlineData("trian", "1 problem in the arguments of lora\n\ntrian  there is no such command; did you mean train?; there are prepare, recipes, train, generate, inspect, env\n\ntry    lora --help\n")]
    [InlineData("help", "1 problem in the arguments of lora\n\nhelp  there is no such command; there are prepare, recipes, train, generate, inspect, env\n\ntry   lora --help\n")]
    [InlineData("--verbose", "1 problem in the arguments of lora\n\nCOMMAND  missing: prepare, recipes, train, generate, inspect, env\n\ntry      lora --help\n")]
    [InlineData("train", "1 problem in the arguments of lora train\n\nRECIPE  missing: A recipe file (.toml); lora recipes has some to start from.\n\ntry     lora train --help\n")]
    [InlineData("train nofile.toml", "there is no recipe nofile.toml: give the path of a .toml file (lora recipes has some to start from)\n")]
    [InlineData("train a.toml --resumee", "1 problem in the arguments of lora train\n\n--resumee  there is no such option; did you mean --resume?\n\ntry        lora train --help\n")]
    [InlineData("generate --stepz 3", "4 problems in the arguments of lora generate\n\n--stepz   there is no such option; did you mean --steps?\n--model   missing: Base model: icons-64 (embedded) or a folder in the diffusers layout.\n--prompt  missing: What the pictures should show.\n--output  missing: Folder for the pictures; made when absent.\n\ntry       lora generate --help\n")]
    [InlineData("generate -m m -p a red apple -o o", "2 problems in the arguments of lora generate\n\nred    one word too many; put quotes around a value with spaces in it\napple  one word too many; put quotes around a value with spaces in it\n\ntry    lora generate --help\n")]
    [InlineData("generate -m m -p x -o o --steps many --guidance x", "2 problems in the arguments of lora generate\n\n--steps     many; must be a whole number\n--guidance  x; must be a number\n\ntry         lora generate --help\n")]
    [InlineData("generate -m m -p x -o o --precision fp8", "1 problem in the arguments of lora generate\n\n--precision  fp8; must be fp32 or bf16\n\ntry          lora generate --help\n")]
    [InlineData("generate -p x -o o -m", "1 problem in the arguments of lora generate\n\n--model  needs a value: MODEL\n\ntry      lora generate --help\n")]
    [InlineData("generate -m m -p x -o o --seed 1 --seed 2", "1 problem in the arguments of lora generate\n\n--seed  1 2; takes one value only\n\ntry     lora generate --help\n")]
    public void A_wrong_command_line_is_answered_with_its_problems_only(string line, string message)
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora(line.Split(' ')));
        Assert.Equal(message, shell.Errors);
        Assert.Equal("", shell.Output);
    }

    [Fact]
    public void No_arguments_at_all_show_the_help()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora());
        Assert.Equal("", shell.Errors);
        var help = shell.Output;
        Assert.Equal(CommandLine.Done, shell.Lora("--help"));
        Assert.Equal(shell.Output, help);
    }
}
