using System.Text.Json;
using LowRank.Testing;

namespace LowRank.Cli.Tests;

public sealed class VerifyCommandTests : IDisposable
{
    private static readonly string Files = Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files");

    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void An_adapter_that_works_exits_with_0()
    {
        Assert.Equal(CommandLine.Done, shell.Lora("verify", "icons-tango", "--model", "icons-64"));
        Assert.Matches(@"^ \S+icons-tango\.safetensors\n model     icons-64 \(Stable Diffusion 1\)\n keys      all 399 land: 133 modules in unet\n", shell.Output);
        Assert.EndsWith(" verdict   good: it lands whole, changes the model, and merges as it attaches\n", shell.Output, StringComparison.Ordinal);
        Assert.Equal("", shell.Errors);
    }

    [Fact]
    public void An_adapter_of_another_model_exits_with_4()
    {
        Assert.Equal(CommandLine.Mismatched, shell.Lora("verify", Path.Combine(Files, "bad", "other_base_by_shape.safetensors"), "--model", "icons-64"));
        Assert.Contains("text of width 24, this model's 128", shell.Output, StringComparison.Ordinal);
        Assert.EndsWith(" verdict   mismatched: the file is in order, and made for another model\n", shell.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("truncated_data", " trouble   the file is cut short")]
    [InlineData("missing_up", " trouble   adapter cannot be used: 1 problem")]
    [InlineData("unknown_suffix", " trouble   adapter cannot be used: ")]
    public void A_damaged_adapter_exits_with_3(string name, string trouble)
    {
        Assert.Equal(CommandLine.BadInput, shell.Lora("verify", Path.Combine(Files, "bad", name + ".safetensors"), "--model", "icons-64"));
        Assert.Contains(trouble, shell.Output, StringComparison.Ordinal);
        Assert.EndsWith(" verdict   unusable: see trouble\n", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_or_a_model_that_is_not_there_exits_with_3_and_no_report()
    {
        Assert.Equal(CommandLine.BadInput, shell.Lora("verify", shell.Path("none.safetensors"), "--model", "icons-64"));
        Assert.Equal(("", $"no such file; {shell.Path("none.safetensors")}; check the path\n"), (shell.Output, shell.Errors));
        Assert.Equal(CommandLine.BadInput, shell.Lora("verify", "icons-tango", "--model", shell.Path("none")));
        Assert.StartsWith($"no model is there; {shell.Path("none")}", shell.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void The_report_as_json_has_the_same_exit_code()
    {
        Assert.Equal(CommandLine.Mismatched, shell.Lora("verify", Path.Combine(Files, "bad", "other_base_by_shape.safetensors"), "--model", "icons-64", "--json"));
        using var json = JsonDocument.Parse(shell.Output);
        Assert.Equal("mismatched", json.RootElement.GetProperty("verdict").GetString());
    }

    [Fact]
    public void Lines_of_a_folded_message_stay_below_their_text()
    {
        shell.Lora("verify", Path.Combine(Files, "bad", "other_base_by_shape.safetensors"), "--model", "icons-64");
        Assert.Contains("""
                         shapes  lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k: lora_down has 24 input
                                 columns, the layer has 128
            """.ReplaceLineEndings("\n"), shell.Output, StringComparison.Ordinal);
    }
}
