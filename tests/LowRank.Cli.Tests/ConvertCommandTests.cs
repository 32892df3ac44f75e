namespace LowRank.Cli.Tests;

public sealed class ConvertCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Theory]
    [InlineData("kohya", "out.safetensors")]
    [InlineData("peft", "out")]
    [InlineData("diffusers", "out.safetensors")]
    [InlineData("lycoris", "out.safetensors")]
    public void An_adapter_is_converted_and_told_of(string to, string output)
    {
        Assert.Equal(0, shell.Lora("convert", "icons-tango", shell.Path(output), "--to", to));
        Assert.StartsWith($" {shell.Path(output)}", shell.Output, StringComparison.Ordinal);
        Assert.Contains("from      icons-tango (kohya keys", shell.Output, StringComparison.Ordinal);
        Assert.Equal(0, shell.Lora("inspect", shell.Path(output)));
    }

    [Fact]
    public void A_word_that_is_no_convention_is_wrong_usage()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("convert", "icons-tango", shell.Path("out.safetensors"), "--to", "pefft"));
        Assert.Equal("""
            1 problem in the arguments of lora convert

            --to  pefft; must be kohya or peft or diffusers or diffusers-old or attn-procs or lycoris or legacy

            try   lora convert --help

            """, shell.Errors, ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void What_has_no_place_exits_with_3_and_an_output_that_does_not_fit_with_2()
    {
        Assert.Equal(CommandLine.BadInput, shell.Lora("convert", "icons-tango", shell.Path("out.safetensors"), "--to", "attn-procs", "--model", "nowhere"));
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("convert", "icons-tango", shell.Path("out.bin"), "--to", "kohya"));
        Assert.Equal($"the output must end with .safetensors: {shell.Path("out.bin")}\n  try     give it that ending\n", shell.Errors);
    }
}
