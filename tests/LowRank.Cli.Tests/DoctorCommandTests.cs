using LowRank.Testing;

namespace LowRank.Cli.Tests;

public sealed class DoctorCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void A_healthy_adapter_exits_with_0_trouble_with_1_and_what_is_repaired_with_0_again()
    {
        Assert.Equal(0, shell.Lora("doctor", "icons-tango"));
        Assert.Contains("verdict   healthy", shell.Output, StringComparison.Ordinal);

        var sick = shell.Path("sick.safetensors");
        File.Copy(Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files", "bad", "alpha_zero.safetensors"), sick);
        Assert.Equal(1, shell.Lora("doctor", sick));
        Assert.Contains("1 trouble, 1 can be repaired: --fix", shell.Output, StringComparison.Ordinal);
        Assert.Equal([sick], Directory.GetFiles(shell.Folder));

        Assert.Equal(0, shell.Lora("doctor", sick, "--fix", shell.Path("well.safetensors")));
        Assert.Equal(0, shell.Lora("doctor", shell.Path("well.safetensors")));
        Assert.Equal(0, shell.Lora("doctor", sick, "--fix"));
        Assert.Equal(0, shell.Lora("doctor", sick));
        Assert.Equal([sick, sick + ".bak", shell.Path("well.safetensors")], Directory.GetFiles(shell.Folder).Order());
    }

    [Fact]
    public void Leaving_modules_out_asks_for_a_repaired_file_and_a_file_that_is_none_exits_with_3()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("doctor", "icons-tango", "--drop-nan"));
        Assert.Equal("modules are left out of a repaired file only, and none is asked for: icons-tango\n  try     --fix\n", shell.Errors);
        Assert.Equal(CommandLine.BadInput, shell.Lora("doctor", shell.Write("not.safetensors", "hello, this is text")));
    }
}
