using System.Text.Json;

namespace LowRank.Cli.Tests;

public sealed class CommandLineTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Theory]
    [InlineData("", "prepare", "recipes", "train", "generate", "inspect", "diff", "convert", "doctor", "verify", "verify-model", "convert-model", "env")]
    [InlineData("train", "RECIPE", "--set", "--output", "--resume", "--dry-run")]
    [InlineData("generate", "--model", "--adapter", "--prompt", "--negative-prompt", "--sampler", "--steps", "--guidance", "--seed", "--count", "--width", "--height", "--image", "--noise-strength", "--mask", "--output")]
    [InlineData("inspect", "FILE", "--json", "--full", "--plot")]
    [InlineData("diff", "A", "B", "--model", "--json")]
    [InlineData("verify", "FILE", "--model", "--json", "--tokenizer", "--config", "--ema", "Exits with 0", "3 for", "4 for")]
    [InlineData("doctor", "FILE", "--fix", "--drop-nan", "--model", "Exits with 0", "with 1 where trouble is left")]
    [InlineData("convert", "IN", "OUT", "--to", "--dtype", "--model", "--strip-captions")]
    [InlineData("verify-model", "MODEL", "--tokenizer", "--config", "--prediction-type", "--ema", "--variant")]
    [InlineData("convert-model", "IN", "OUT", "--to", "--dtype", "--tokenizer", "--config", "--prediction-type", "--ema", "--variant")]
    public void Help_names_what_a_command_takes(string command, params string[] words)
    {
        Assert.Equal(0, shell.Lora([.. command.Split(' ', StringSplitOptions.RemoveEmptyEntries), "--help"]));
        foreach (var word in words) Assert.Contains(word, shell.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("train", "a.toml", "--resumee")]
    [InlineData("generate", "--prompt", "x")]
    [InlineData("generate", "--model", "icons-64", "--prompt", "x", "--output", "o", "--steps", "many")]
    [InlineData("paint")]
    public void Wrong_usage_exits_with_2_and_says_what(params string[] arguments)
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora(arguments));
        Assert.NotEqual("", shell.Errors);
    }

    [Fact]
    public void Env_says_what_the_machine_has()
    {
        Assert.Equal(0, shell.Lora("env"));
        foreach (var word in (string[])["lora", "system", "processor", "memory", "libtorch 2.10", "gpus", "libvips 8."]) Assert.Contains(word, shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Inspect_tells_of_a_trained_adapter_in_words_and_as_json()
    {
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe()));
        var adapter = shell.Path("run", "adapter.safetensors");
        Assert.Equal(0, shell.Lora("inspect", adapter));
        foreach (var word in (string[])["kohya", "rank 2", "56", "icons-64"]) Assert.Contains(word, shell.Output, StringComparison.Ordinal);
        Assert.Equal(0, shell.Lora("inspect", adapter, "--json"));
        using var json = JsonDocument.Parse(shell.Output);
        Assert.Equal(JsonValueKind.Array, json.RootElement.ValueKind);
        Assert.Equal(0, shell.Lora("inspect", adapter, "--plot", shell.Path("norms.png")));
        Assert.True(File.Exists(shell.Path("norms.png")));
        Assert.Equal((CommandLine.WrongUsage, "--plot draws the norms of one file; name one file\n"), (shell.Lora("inspect", adapter, adapter, "--plot", shell.Path("two.png")), shell.Errors));
    }

    [Fact]
    public void Diff_tells_how_far_apart_two_adapters_are_in_words_and_as_json()
    {
        Assert.Equal(0, shell.Lora("diff", "icons-tango", "icons-line"));
        Assert.Matches(@"\n modules   133 in both\n apart     ‖ΔA − ΔB‖ 53\.5   cosine -0\.0067\n", shell.Output);
        Assert.Equal(0, shell.Lora("diff", "icons-tango", "icons-tango", "--json"));
        using var json = JsonDocument.Parse(shell.Output);
        Assert.True(json.RootElement.GetProperty("is_same").GetBoolean());
        Assert.Equal(CommandLine.BadInput, shell.Lora("diff", "icons-tango", shell.Path("none.safetensors")));
    }

    [Fact]
    public void Verify_model_exits_with_0_for_a_whole_model_and_with_3_for_one_with_trouble()
    {
        Assert.Equal(0, shell.Lora("verify-model", "icons-64"));
        foreach (var word in (string[])["Stable Diffusion 1", "UNet2DConditionModel", "CLIPTokenizer", "finite", "verdict   whole"]) Assert.Contains(word, shell.Output, StringComparison.Ordinal);

        var folder = shell.Path("broken");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "model_index.json"), """{ "_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"] }""");
        Assert.Equal(CommandLine.BadInput, shell.Lora("verify-model", folder));
        Assert.Contains("trouble   unet: the folder unet is missing", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Convert_model_writes_one_file_that_every_command_opens_and_a_folder_of_it()
    {
        var file = shell.Path("base.safetensors");
        Assert.Equal(0, shell.Lora("convert-model", "icons-64", file));
        Assert.Equal($" {file}\n written   one file in the original layout, 519 tensors, {new FileInfo(file).Length / 1e6:F1} MB\n", shell.Output);

        Assert.Equal(0, shell.Lora("verify-model", file));
        foreach (var line in (string[])["\n model     Stable Diffusion 1 layout, 64 px, ", "\n found     Stable Diffusion 1 in the original layout, told by its text", "configurations: the file's own metadata\n", "predicts v: the file's own metadata\n", "\n verdict   whole"])
        {
            Assert.Contains(line, shell.Output, StringComparison.Ordinal);
        }

        Assert.Equal(0, shell.Lora("convert-model", file, shell.Path("folder"), "--dtype", "fp32"));
        Assert.Contains("\n written   a folder in the layout of diffusers, 518 tensors, ", shell.Output, StringComparison.Ordinal);
        Assert.Equal(0, shell.Lora("verify-model", shell.Path("folder")));
        Assert.Contains("F32", shell.Output, StringComparison.Ordinal);

        Assert.Equal(CommandLine.WrongUsage, shell.Lora("convert-model", file, shell.Path("folder")));
        Assert.Equal($"output: {shell.Path("folder")}; the folder holds something already: name another\n", shell.Errors);
    }

    [Fact]
    public void A_model_of_one_file_is_trained_on_and_drawn_with()
    {
        var file = shell.Path("base.safetensors");
        Assert.Equal(0, shell.Lora("convert-model", "icons-64", file));
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe(), "--set", $"model={file}"));
        Assert.Equal(0, shell.Lora("generate", "--model", file, "--adapter", shell.Path("run", "adapter.safetensors"), "--prompt", "red heart", "--steps", "1", "--output", shell.Path("drawn")));
        Assert.Equal(0, shell.Lora("verify", shell.Path("run", "adapter.safetensors"), "--model", file));
    }

    [Fact]
    public void A_file_that_is_no_adapter_exits_with_3()
    {
        Assert.Equal(CommandLine.BadInput, shell.Lora("inspect", shell.Write("not.safetensors", "hello, this is text")));
        Assert.Contains("not.safetensors", shell.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", shell.Errors, StringComparison.Ordinal);
    }
}
