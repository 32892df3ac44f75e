using System.Text.Json;

namespace LowRank.Cli.Tests;

public sealed class CombineCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void Two_adapters_become_one_and_the_screen_says_what_was_lost()
    {
        Assert.Equal(0, shell.Lora("combine", "icons-tango", "icons-line=0.5", shell.Path("mix.safetensors"), "--method", "svd", "--rank", "2"));
        var lines = shell.Output.Split('\n');
        Assert.StartsWith($" {shell.Path("mix.safetensors")}   ", lines[0], StringComparison.Ordinal);
        Assert.Equal([" made by   svd of icons-tango.safetensors + icons-line.safetensors × 0.5", " base      icons-64", " modules   133 in unet", " rank      2"], lines[1..5]);
        Assert.Matches(@"^ error     0\.\d+ of ‖ΔW‖; energy kept 0\.\d{4}$", lines[5]);
        Assert.Matches("^ blocks    block +modules +rank +error +energy$", lines[6]);
        Assert.Matches(@"^           unet\.mid_block +18 +2 +0\.\d+ +0\.\d{4}$", Assert.Single(lines, line => line.Contains(" unet.mid_block ", StringComparison.Ordinal)));
        Assert.Matches(@"^ worst     unet\.[\w.]+ +2 +0\.\d+ +0\.\d{4}$", Assert.Single(lines, line => line.StartsWith(" worst", StringComparison.Ordinal)));
        Assert.Equal(0, shell.Lora("inspect", shell.Path("mix.safetensors")));
        Assert.Contains("rank 2", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_report_as_json_has_every_layer()
    {
        Assert.Equal(0, shell.Lora("combine", "icons-tango=2", shell.Path("twice.safetensors"), "--json", "--dtype", "fp32"));
        using var json = JsonDocument.Parse(shell.Output);
        Assert.Equal(["output", "bytes", "what", "base", "modules", "tokens", "notes", "error", "energy"], json.RootElement.EnumerateObject().Select(item => item.Name));
        Assert.Equal(133, json.RootElement.GetProperty("modules").GetArrayLength());
        Assert.Equal(["module", "block", "rank", "norm", "error", "energy"], json.RootElement.GetProperty("modules")[0].EnumerateObject().Select(item => item.Name));
    }

    [Fact]
    public void An_output_that_is_missing_is_told_of()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("combine", "icons-tango"));
        Assert.Equal("""
            1 problem in the arguments of lora combine

            A[=W] B[=W]... OUT  missing: Adapters, each FILE or FILE=WEIGHT (1 as it is, 0 not at all, negative takes it away), and behind them the .safetensors file to write.

            try                 lora combine --help

            """, shell.Errors);
    }

    [Theory]
    [InlineData("--method", "svd", "rank: svd needs a rank or an error")]
    [InlineData("--rank", "4", "rank: concat keeps every rank; use svd for fewer")]
    public void Options_that_do_not_go_together_exit_with_2(string option, string value, string problem)
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("combine", "icons-tango", shell.Path("out.safetensors"), option, value));
        var parts = problem.Split(": ");
        Assert.Equal($"1 problem in the options\n\n{parts[0]}  {parts[1]}\n", shell.Errors);
        Assert.False(File.Exists(shell.Path("out.safetensors")));
    }
}
