using System.Text.Json;
using LowRank.Images;

namespace LowRank.Cli.Tests;

public sealed class MergeCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    /// <summary>The model with two adapters in its weights draws what the model with both attached draws.</summary>
    [Fact]
    public void A_merged_model_draws_the_same_picture_within_rounding()
    {
        Assert.Equal(0, shell.Lora("merge", "icons-64", "icons-tango", "icons-line=0.5", shell.Path("merged"), "--dtype", "fp32"));
        var lines = shell.Output.Split('\n');
        Assert.Matches($@"^ {shell.Path("merged")}   \d+\.\d MB$", lines[0]);
        Assert.Equal(" merged    icons-64 + icons-tango.safetensors × 1 + icons-line.safetensors × 0.5", lines[1]);
        Assert.Matches(@"^ changed   \d+ in unet; ‖ΔW‖ \d+\.\d+$", lines[2]);
        Assert.Matches(@"^ copied    \d+, and \d+ in another type$", lines[3]);
        Assert.Matches(@"^ blocks    unet\.\w+ +\d+ +\d+(\.\d+)?$", lines[4].Replace(".0 ", " ", StringComparison.Ordinal));
        var attached = Draw("icons-64", "--adapter", "icons-tango", "--adapter", "icons-line=0.5");
        var merged = Draw(shell.Path("merged"));
        var plain = Draw("icons-64");
        Assert.InRange(attached.Zip(merged, (a, b) => Math.Abs(a - b)).Max(), 0, 1);
        Assert.True(attached.Zip(plain, (a, b) => Math.Abs(a - b)).Max() > 50);
    }

    private byte[] Draw(string model, params string[] adapters)
    {
        var folder = shell.Path(Guid.NewGuid().ToString("N"));
        Assert.Equal(0, shell.Lora(["generate", "--model", model, "--prompt", "a red heart", "--output", folder, "--steps", "4", "--seed", "3", .. adapters]));
        return ImageFile.Read(Assert.Single(Directory.GetFiles(folder))).Pixels;
    }

    [Fact]
    public void The_report_as_json_has_every_weight()
    {
        Assert.Equal(0, shell.Lora("merge", "icons-64", "icons-tango=-0.5", shell.Path("merged"), "--json"));
        using var json = JsonDocument.Parse(shell.Output);
        Assert.Equal(["output", "bytes", "what", "changed", "copied", "converted", "warnings", "norm"], json.RootElement.EnumerateObject().Select(item => item.Name));
        Assert.Equal(133, json.RootElement.GetProperty("changed").GetArrayLength());
        Assert.Equal(["weight", "block", "norm"], json.RootElement.GetProperty("changed")[0].EnumerateObject().Select(item => item.Name));
    }

    [Fact]
    public void An_output_that_is_missing_is_told_of()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("merge", "icons-64", "icons-tango"));
        Assert.Equal("""
            1 problem in the arguments of lora merge

            MODEL ADAPTER[=S]... OUT  missing: The model (folder, single file, or icons-64), adapters, each FILE or FILE=STRENGTH[,unet:X,text_encoder:X,blocks:X/X/…] (1 as trained, negative takes it away), and behind them the folder or .safetensors file to write, of the model's kind.

            try                       lora merge --help

            """, shell.Errors);
    }

    [Fact]
    public void Bad_input_exits_with_3_and_an_output_over_an_input_with_2()
    {
        Assert.Equal(CommandLine.BadInput, shell.Lora("merge", "icons-64", shell.Path("none.safetensors"), shell.Path("merged")));
        Assert.Equal($"no such file; {shell.Path("none.safetensors")}; check the path\n", shell.Errors);
        Directory.CreateDirectory(shell.Path("full"));
        shell.Write(Path.Combine("full", "x"), "");
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("merge", "icons-64", "icons-tango", shell.Path("full")));
        Assert.Equal($"the output folder is not empty; {shell.Path("full")}; name a new folder: nothing is overwritten\n", shell.Errors);
    }
}
