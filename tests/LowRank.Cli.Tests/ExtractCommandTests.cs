using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Cli.Tests;

public sealed class ExtractCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void A_tuned_model_becomes_an_adapter_that_can_be_resized()
    {
        var (original, tuned) = Models();
        Assert.Equal(0, shell.Lora("extract", original, tuned, shell.Path("two.safetensors"), "--rank", "2", "--dtype", "fp32"));
        var lines = shell.Output.Split('\n');
        Assert.StartsWith($" {shell.Path("two.safetensors")}   ", lines[0], StringComparison.Ordinal);
        Assert.Equal([" made by   difference of tuned to sd1, rank 2", $" base      {original} (Stable Diffusion 1)", " modules   2 in unet", " rank      2"], lines[1..5]);
        Assert.Matches(@"^ error     0\.\d+ of ‖ΔW‖; energy kept 0\.\d{4}$", lines[5]);
        Assert.Contains(" note      ", shell.Output, StringComparison.Ordinal);

        Assert.Equal(0, shell.Lora("resize", shell.Path("two.safetensors"), shell.Path("one.safetensors"), "--rank", "1", "--model", original));
        Assert.Equal([" made by   two.safetensors resized, rank 1", $" base      {original}", " modules   2 in unet", " rank      1"], shell.Output.Split('\n')[1..5]);

        Assert.Equal(0, shell.Lora("extract", original, tuned, shell.Path("half.safetensors"), "--energy", "0.5", "--parts", "unet,text_encoder", "--conv-rank", "0", "--json"));
        Assert.Contains("\"what\": \"difference of tuned to sd1, energy 0.5\"", shell.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("rank  nothing says how much to keep; give one of rank, energy, threshold, ratio and quantile")]
    [InlineData("rank  several rules say how much to keep; give one of rank, energy, threshold, ratio and quantile", "--rank", "2", "--energy", "0.5")]
    public void A_rule_must_say_how_much_is_kept(string problem, params string[] options)
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora(["extract", "icons-64", "icons-64", shell.Path("out.safetensors"), .. options]));
        Assert.Equal($"1 problem in the options\n\n{problem}\n", shell.Errors);
    }

    [Fact]
    public void Equal_models_exit_with_3()
    {
        Assert.Equal(CommandLine.BadInput, shell.Lora("extract", "icons-64", "icons-64", shell.Path("out.safetensors"), "--rank", "1"));
        Assert.EndsWith(" differs; icons-64 and icons-64; compare a model with what was trained from it\n", shell.Errors, StringComparison.Ordinal);
        Assert.False(File.Exists(shell.Path("out.safetensors")));
    }

    /// <summary>A tiny model, and one with two layers changed.</summary>
    private (string Original, string Tuned) Models()
    {
        var original = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1");
        var tuned = shell.Path("tuned");
        foreach (var file in Directory.GetFiles(original, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(tuned, Path.GetRelativePath(original, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
        using var scope = NewDisposeScope();
        var weights = Path.Combine(tuned, "unet", "diffusion_pytorch_model.safetensors");
        using var reader = SafetensorsReader.Open(weights);
        var tensors = reader.Tensors.Keys.ToDictionary(name => name, reader.Read);
        foreach (var name in new[] { "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight", "mid_block.resnets.0.conv1.weight" })
        {
            tensors[name] = tensors[name].Plus(Formula.Noise(name, tensors[name].shape, 5, 0.1));
        }
        SafetensorsWriter.Write(weights, tensors, reader.Metadata);
        return (original, tuned);
    }
}
