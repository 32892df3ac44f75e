namespace LowRank.Cli.Tests;

public sealed class MisuseTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    private const string Commands = "prepare, recipes, train, generate, evaluate, inspect, merge, diff, combine, extract, resize, convert, doctor, verify, verify-model, convert-model, models, bench, env";

    [Theory]
    [InlineData("trian", "1 problem in the arguments of lora\n\ntrian  there is no such command; did you mean train?; there are prepare, recipes, train, generate, evaluate, inspect, merge, diff, combine, extract, resize, convert, doctor, verify, verify-model, convert-model, models, bench, env\n\ntry    lora --help\n")]
    [InlineData("help", "1 problem in the arguments of lora\n\nhelp  there is no such command; there are prepare, recipes, train, generate, evaluate, inspect, merge, diff, combine, extract, resize, convert, doctor, verify, verify-model, convert-model, models, bench, env\n\ntry   lora --help\n")]
    [InlineData("--verbose", "1 problem in the arguments of lora\n\nCOMMAND  missing: prepare, recipes, train, generate, evaluate, inspect, merge, diff, combine, extract, resize, convert, doctor, verify, verify-model, convert-model, models, bench, env\n\ntry      lora --help\n")]
    [InlineData("train", "1 problem in the arguments of lora train\n\nRECIPE  missing: A recipe file (.toml); lora recipes has some to start from.\n\ntry     lora train --help\n")]
    [InlineData("train nofile.toml", "there is no recipe nofile.toml: give the path of a .toml file (lora recipes has some to start from)\n")]
    [InlineData("train a.toml --resumee", "1 problem in the arguments of lora train\n\n--resumee  there is no such option; did you mean --resume?\n\ntry        lora train --help\n")]
    [InlineData("train --dry-runn a.toml", "1 problem in the arguments of lora train\n\n--dry-runn  there is no such option; did you mean --dry-run?\n\ntry         lora train --help\n")]
    [InlineData("train cpu", "there is no file cpu: cpu is a recipe to start from, which lora recipes cpu --output cpu.toml writes to a file\n")]
    [InlineData("inspect --jsn", "2 problems in the arguments of lora inspect\n\n--jsn  there is no such option; did you mean --json?\nFILE   missing: Adapter files (.safetensors, .pt, .bin), PEFT folders, or names of adapters that come with the program.\n\ntry    lora inspect --help\n")]
    [InlineData("recipes --outptu x.toml", "1 problem in the arguments of lora recipes\n\n--outptu  there is no such option; did you mean --output?\n\ntry       lora recipes --help\n")]
    [InlineData("recipes style x", "1 problem in the arguments of lora recipes\n\nx    one word too many; put quotes around a value with spaces in it\n\ntry  lora recipes --help\n")]
    [InlineData("prepare tga folder --model m", "1 problem in the arguments of lora prepare\n\ntga  there is no such command; did you mean tag?; there are caption, tag, mask, crop\n\ntry  lora prepare --help\n")]
    [InlineData("prepare tag folder", "1 problem in the arguments of lora prepare tag\n\n--model  missing: A tagger in the WD14 layout (.onnx), such as wd-vit-tagger-v3.\n\ntry      lora prepare tag --help\n")]
    [InlineData("generate --stepz 3", "4 problems in the arguments of lora generate\n\n--stepz   there is no such option; did you mean --steps?\n--model   missing: Base model: icons-64 (embedded), a folder in the diffusers layout, a checkpoint of one file (.safetensors, .ckpt), or org/name, a model of the hub.\n--prompt  missing: What the pictures should show.\n--output  missing: Folder for the pictures; made when absent.\n\ntry       lora generate --help\n")]
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
