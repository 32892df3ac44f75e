using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Which file of a folder a name in a prompt means.</summary>
public sealed class NamedFilesTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public NamedFilesTests()
    {
        foreach (var file in (string[])["Tango.safetensors", "v1.2 (final).safetensors", "old/tango.pt", "old/pixel.pt", "new/pixel.safetensors", "notes.txt", "damaged.safetensors"]) File.WriteAllText(folder.Path(file), "not read");
        using var tensor = zeros(1);
        SafetensorsWriter.Write(folder.Path("new", "epoch-10.safetensors"), [KeyValuePair.Create("x", tensor)], new Dictionary<string, string> { ["ss_output_name"] = "watercolour" });
    }

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("Tango", "Tango.safetensors")]
    [InlineData("tango", "old/tango.pt")]
    [InlineData("v1.2 (final)", "v1.2 (final).safetensors")]
    [InlineData("V1.2 (FINAL)", "v1.2 (final).safetensors")]
    [InlineData("old/pixel", "old/pixel.pt")]
    [InlineData("pixel.pt", "old/pixel.pt")]
    [InlineData("new/pixel.safetensors", "new/pixel.safetensors")]
    [InlineData("watercolour", "new/epoch-10.safetensors")]
    public void Names_are_those_of_files_then_of_metadata_and_case_counts_where_it_must(string name, string file) =>
        Assert.Equal(folder.Path(file.Split('/')), new NamedFiles(folder.FullName, "adapter").Find(name));

    [Fact]
    public void Several_or_none_is_told_of()
    {
        var files = new NamedFiles(folder.FullName, "adapter");
        Assert.Equal($"the adapter pixel may be new/pixel.safetensors or old/pixel.pt in {folder.FullName}; write the path below that folder", Assert.Throws<OptionsException>(() => files.Find("pixel")).Message);
        Assert.Equal(
            $"no adapter in {folder.FullName} is named pixle (did you mean \"pixel\"?); it holds Tango, damaged, epoch-10, pixel, tango, v1.2 (final)",
            Assert.Throws<OptionsException>(() => files.Find("pixle")).Message);
        Assert.Equal($"no adapter in {folder.Path("none", "x")[..^2]} is named a; it holds no .safetensors, .pt or .bin", Assert.Throws<OptionsException>(() => new NamedFiles(folder.Path("none", "x")[..^2], "adapter").Find("a")).Message);
    }
}
