namespace LowRank.Cli.Tests;

public sealed class GenerateCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void Strength_0_equals_the_base_bit_for_bit_and_strength_1_does_not()
    {
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe()));
        var adapter = shell.Path("run", "adapter.safetensors");
        var plain = Generate("base");
        Assert.Equal(plain, Generate("zero", "--adapter", adapter + "=0"));
        Assert.NotEqual(plain, Generate("half", "--adapter", adapter + "=0.5"));
        Assert.NotEqual(Generate("half-again", "--adapter", adapter + "=0.5"), Generate("one", "--adapter", adapter));
    }

    [Fact]
    public void Several_pictures_come_with_a_grid_and_their_settings()
    {
        var output = shell.Path("many");
        Assert.Equal(0, shell.Lora("generate", "--model", "icons-64", "--prompt", "blue car", "--steps", "2", "--count", "3", "--seed", "5", "--output", output));
        Assert.Equal(3, Directory.GetFiles(output, "*.png").Count(path => !path.Contains("grid", StringComparison.Ordinal)));
        Assert.Single(Directory.GetFiles(output, "*grid*.png"));
        var first = File.ReadAllBytes(Directory.GetFiles(output, "*.png").Where(path => !path.Contains("grid", StringComparison.Ordinal)).Order(StringComparer.Ordinal).First());
        var settings = LowRank.Images.PngText.Read(first)["parameters"];
        Assert.StartsWith("blue car\n", settings, StringComparison.Ordinal);
        foreach (var word in (string[])["Steps: 2", "Sampler: DDIM", "CFG scale: 5", "Seed: 5", "Size: 64x64", "Model: icons-64"]) Assert.Contains(word, settings, StringComparison.Ordinal);
    }

    [Fact]
    public void The_same_seed_gives_the_same_picture_alone_or_in_a_row()
    {
        var row = shell.Path("row");
        Assert.Equal(0, shell.Lora("generate", "--model", "icons-64", "--prompt", "red apple", "--steps", "2", "--count", "2", "--seed", "10", "--output", row));
        var alone = shell.Path("alone");
        Assert.Equal(0, shell.Lora("generate", "--model", "icons-64", "--prompt", "red apple", "--steps", "2", "--seed", "11", "--output", alone));
        Assert.Equal(Pixels(Single(alone)), Pixels(Directory.GetFiles(row, "*.png").Where(path => !path.Contains("grid", StringComparison.Ordinal)).Order(StringComparer.Ordinal).Last()));
    }

    [Fact]
    public void A_start_picture_and_a_mask_keep_what_is_black()
    {
        var start = Path.Combine(LowRank.Testing.Repository.Root, "examples", "tango", "pictures");
        var picture = Directory.GetFiles(start, "*.png").Order(StringComparer.Ordinal).First();
        var half = new byte[64 * 64 * 3];
        for (var y = 0; y < 64; y++) for (var x = 32; x < 64; x++) for (var c = 0; c < 3; c++) half[(y * 64 + x) * 3 + c] = 255;
        LowRank.Images.ImageFile.WritePng(shell.Path("mask.png"), new LowRank.Images.RgbImage(new LowRank.Images.PixelSize(64, 64), half));
        var output = shell.Path("painted");
        Assert.Equal(0, shell.Lora("generate", "--model", "icons-64", "--prompt", "red apple", "--steps", "4", "--image", picture, "--mask", shell.Path("mask.png"), "--noise-strength", "1", "--output", output));
        var (before, after) = (LowRank.Images.ImageFile.Read(picture).Pixels, Pixels(Single(output)));
        double Difference(int from, int to)
        {
            var sum = 0.0;
            for (var y = 0; y < 64; y++) for (var x = from; x < to; x++) for (var c = 0; c < 3; c++) sum += Math.Abs(before[(y * 64 + x) * 3 + c] - after[(y * 64 + x) * 3 + c]);
            return sum / ((to - from) * 64 * 3);
        }
        Assert.True(Difference(0, 24) < 12, $"the kept part moved by {Difference(0, 24)}");
        Assert.True(Difference(32, 64) > 2 * Difference(0, 24), "the painted part did not move");
    }

    /// <summary>Nine channels: the hole of the mask, the picture around it, the prompt and the seed decide, and what the picture has in the hole does not.</summary>
    [Fact]
    public void An_inpainting_model_paints_in_the_hole_of_a_picture()
    {
        var model = Path.Combine(LowRank.Testing.Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1-inpaint");
        Picture("picture.png", (_, x) => (byte)(4 * x));
        Picture("other-inside.png", (y, x) => (byte)(y >= 32 ? 255 - 4 * x : 4 * x));
        Picture("other-outside.png", (y, x) => (byte)(y < 32 ? 255 - 4 * x : 4 * x));
        Picture("mask.png", (y, _) => (byte)(y >= 32 ? 255 : 0));
        Picture("mask-2.png", (y, _) => (byte)(y >= 24 ? 255 : 0));
        byte[] Paint(string picture = "picture.png", string mask = "mask.png", string prompt = "a dog", string seed = "1")
        {
            var output = shell.Path(Guid.NewGuid().ToString("N"));
            Assert.Equal(0, shell.Lora("generate", "--model", model, "--prompt", prompt, "--steps", "3", "--seed", seed, "--image", shell.Path(picture), "--mask", shell.Path(mask), "--noise-strength", "1", "--output", output));
            return Pixels(Single(output));
        }
        var painted = Paint();
        Assert.Equal(painted, Paint("other-inside.png"));
        byte[][] others = [painted, Paint("other-outside.png"), Paint(mask: "mask-2.png"), Paint(prompt: "a cat"), Paint(seed: "2")];
        Assert.Equal(others.Length, others.Select(Convert.ToHexString).Distinct().Count());

        void Picture(string name, Func<int, int, byte> grey) =>
            LowRank.Images.ImageFile.WritePng(shell.Path(name), new(new(64, 64), [.. Enumerable.Range(0, 64 * 64 * 3).Select(at => grey(at / 3 / 64, at / 3 % 64))]));
    }

    [Theory]
    [InlineData("--mask needs", "--mask", "m.png")]
    [InlineData("steps  ", "--steps", "0")]
    [InlineData("sampler  ", "--sampler", "eulr")]
    public void Impossible_options_exit_with_2(string word, params string[] extra)
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora(["generate", "--model", "icons-64", "--prompt", "x", "--output", shell.Path("o"), .. extra]));
        Assert.Contains(word.Split("  ")[0].Replace("--mask needs", "mask", StringComparison.Ordinal), shell.Errors, StringComparison.Ordinal);
        Assert.False(Directory.Exists(shell.Path("o")));
    }

    [Fact]
    public void A_learned_token_changes_pictures_whose_prompt_names_it_and_no_others()
    {
        using (var rows = LowRank.Foundation.TensorArithmetic.Filled([2, 128], 0.3))
        {
            LowRank.Adapters.EmbeddingWriter.Write(shell.Path("style.safetensors"), new("<my-style>", new Dictionary<string, TorchSharp.torch.Tensor> { ["text_encoder"] = rows }));
        }
        byte[] Draw(string name, string prompt, params string[] extra)
        {
            Assert.Equal(0, shell.Lora(["generate", "--model", "icons-64", "--prompt", prompt, "--steps", "2", "--seed", "1", "--output", shell.Path(name), .. extra]));
            return Pixels(Single(shell.Path(name)));
        }
        var file = shell.Path("style.safetensors");
        Assert.Equal(Draw("a", "red heart"), Draw("b", "red heart", "--embedding", file));
        var (text, named) = (Draw("c", "red heart <my-style>"), Draw("d", "red heart <my-style>", "--embedding", file));
        Assert.NotEqual(text, named);
        Assert.Equal(named, Draw("e", "red heart <other>", "--embedding", file + "=<other>"));
    }

    [Fact]
    public void Brackets_weigh_words_unless_they_are_taken_as_they_stand()
    {
        byte[] Draw(string name, string prompt, params string[] extra)
        {
            Assert.Equal(0, shell.Lora(["generate", "--model", "icons-64", "--prompt", prompt, "--steps", "2", "--seed", "1", "--output", shell.Path(name), .. extra]));
            return Pixels(Single(shell.Path(name)));
        }
        var plain = Draw("a", "red heart");
        Assert.Equal(plain, Draw("b", "(red heart:1)"));
        Assert.Equal(plain, Draw("c", "red heart", "--prompt-weights", "none"));
        byte[][] others = [plain, Draw("d", "(red:1.5) heart"), Draw("e", "red [heart]"), Draw("f", "red BREAK heart"), Draw("g", "(red:1.5) heart", "--prompt-weights", "none"), Draw("h", "\\(red:1.5\\) heart")];
        Assert.Equal(others.Length - 1, others.Select(Convert.ToHexString).Distinct().Count());
        Assert.Equal(others[4], others[5]);
    }

    [Fact]
    public void A_prompt_that_changes_between_steps_is_refused()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("generate", "--model", "icons-64", "--prompt", "[red:blue:0.5] heart", "--output", shell.Path("o")));
        Assert.Equal("1 problem in the options\n\nprompt  [red:blue:0.5] changes the prompt between steps, which is not supported; for a weight write (red:blue:0.5), or write \\[ and \\] where brackets are meant\n", shell.Errors);
    }

    [Fact]
    public void Long_prompts_are_read_whole_and_a_break_in_brackets_is_told_of()
    {
        Assert.Equal(0, shell.Lora("generate", "--model", "icons-64", "--prompt", string.Concat(Enumerable.Repeat("red heart, ", 40)) + "(a BREAK b)", "--steps", "1", "--output", shell.Path("long")));
        Assert.Equal("warning: BREAK inside brackets is read as a word, as web UIs do; write it outside to begin another chunk\n", shell.Errors);
    }

    [Fact]
    public void An_adapter_in_the_prompt_is_the_adapter_of_the_option()
    {
        var folder = Directory.CreateDirectory(shell.Path("loras", "below")).FullName;
        File.Copy(Shipped("icons-line"), Path.Combine(folder, "line.safetensors"));
        byte[] Draw(string name, string prompt, params string[] extra)
        {
            Assert.Equal(0, shell.Lora(["generate", "--model", "icons-64", "--prompt", prompt, "--steps", "2", "--seed", "1", "--output", shell.Path(name), .. extra]));
            Assert.Equal("", shell.Errors);
            return Pixels(Single(shell.Path(name)));
        }
        string[] inFolder = ["--adapter-folder", shell.Path("loras")];
        var (option, plain) = (Draw("a", "red heart", "--adapter", "icons-line=0.8"), Draw("b", "red heart"));
        Assert.NotEqual(plain, option);
        Assert.Equal(option, Draw("c", "red heart<lora:icons-line:0.8>"));
        Assert.Equal(option, Draw("d", "<lora:line:0.8> red heart", inFolder));
        Assert.Equal(option, Draw("e", "red heart <LORA:below/line:te=0.8:unet=0.8>", inFolder));
        Assert.Equal(option, Draw("f", "red heart", ["--adapter", "line=0.8", .. inFolder]));
        Assert.Equal(option, Draw("g", "red heart", ["--adapter", Path.Combine(folder, "line.safetensors") + "=0.8,blocks:1/1/1/1/1/1/1/1/1/1/1/1/1/1"]));
        Assert.Equal(option, Draw("h", "red heart", "--adapter", "icons-line=0.4,unet:2,text_encoder:2"));
        Assert.Equal(plain, Draw("i", "red heart <lora:icons-line:0>"));
        Assert.Equal(plain, Draw("j", "red heart <lora:icons-line:1:0>"));   // it has no text encoder
        var settings = LowRank.Images.PngText.Read(File.ReadAllBytes(Single(shell.Path("d"))))["parameters"];
        Assert.StartsWith("<lora:line:0.8> red heart\n", settings, StringComparison.Ordinal);
        Assert.Contains(", Adapters: \"line.safetensors: 0.8\", Lora hashes: \"line: ", settings, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_that_no_file_has_are_told_of()
    {
        Directory.CreateDirectory(shell.Path("loras"));
        File.Copy(Shipped("icons-line"), shell.Path("loras", "line-art.safetensors"));
        string Refused(string prompt, params string[] extra)
        {
            Assert.NotEqual(0, shell.Lora(["generate", "--model", "icons-64", "--prompt", prompt, "--output", shell.Path("o"), .. extra]));
            Assert.False(Directory.Exists(shell.Path("o")));
            return shell.Errors.Replace(shell.Path("loras"), "LORAS", StringComparison.Ordinal).Trim();
        }
        Assert.Equal("no adapter in LORAS is named line-rat (did you mean \"line-art\"?); it holds line-art", Refused("<lora:line-rat:1> heart", "--adapter-folder", shell.Path("loras")));
        Assert.Equal("prompt: <lora:line-art> names an adapter, and no folder to look in is given; give --adapter-folder FOLDER, or one that comes with the program: icons-line, icons-pixel, icons-tango", Refused("heart <lora:line-art:1>"));
        Assert.Equal("prompt: \"<lora:line-art:1\" names an adapter, but is no whole tag; write <lora:name:0.8>", Refused("heart <lora:line-art:1"));
        Assert.Equal("prompt: embedding:tango names an embedding, and no folder to look in is given; give --embedding-folder FOLDER", Refused("heart, embedding:tango"));
        Assert.Equal("no embedding in LORAS is named tango; it holds line-art", Refused("heart, embedding:tango", "--embedding-folder", shell.Path("loras")));
        Assert.Equal("1 problem in the options\n\nnegative-prompt  it names an adapter, which only prompts can; write the tag in the prompt, with a strength below 0 to take away", Refused("heart", "--negative-prompt", "<lora:icons-line:1>"));
        Assert.Equal("1 problem in the options\n\nadapter-folder  LORAS-2; no such folder", Refused("heart", "--adapter-folder", shell.Path("loras") + "-2"));
    }

    [Fact]
    public void Embeddings_of_a_folder_are_called_by_name()
    {
        Directory.CreateDirectory(shell.Path("words"));
        using (var rows = LowRank.Foundation.TensorArithmetic.Filled([2, 128], 0.3))
        {
            LowRank.Adapters.EmbeddingWriter.Write(shell.Path("words", "my-style.safetensors"), new("<of-the-file>", new Dictionary<string, TorchSharp.torch.Tensor> { ["text_encoder"] = rows }));
        }
        File.WriteAllText(shell.Path("words", "broken.safetensors"), "never read");
        byte[] Draw(string name, string prompt, params string[] extra)
        {
            Assert.Equal(0, shell.Lora(["generate", "--model", "icons-64", "--prompt", prompt, "--steps", "2", "--seed", "1", "--output", shell.Path(name), .. extra]));
            return Pixels(Single(shell.Path(name)));
        }
        string[] inFolder = ["--embedding-folder", shell.Path("words")];
        var named = Draw("a", "red heart, (<x>:1.2)", "--embedding", shell.Path("words", "my-style.safetensors") + "=<x>");
        Assert.Equal(named, Draw("b", "red heart, (my-style:1.2)", inFolder));
        Assert.Equal(named, Draw("c", "red heart, (embedding:my-style:1.2)", inFolder));
        Assert.Equal(named, Draw("d", "red heart, (embedding:My-Style.safetensors:1.2)", inFolder));
        Assert.Equal(Draw("e", "red heart, my-styles"), Draw("f", "red heart, my-styles", inFolder));
        Assert.NotEqual(Draw("g", "red heart"), Draw("h", "red heart", [.. inFolder, "--negative-prompt", "my-style"]));
        var settings = LowRank.Images.PngText.Read(File.ReadAllBytes(Single(shell.Path("b"))))["parameters"];
        Assert.StartsWith("red heart, (my-style:1.2)\n", settings, StringComparison.Ordinal);
        var hash = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(shell.Path("words", "my-style.safetensors"))))[..12];
        Assert.Contains($", Embeddings: \"my-style.safetensors\", TI hashes: \"my-style: {hash}\", Version", settings, StringComparison.Ordinal);
    }

    [Fact]
    public void A_sweep_draws_what_single_runs_draw_and_a_sheet()
    {
        var output = shell.Path("sweep");
        Assert.Equal(0, shell.Lora("generate", "--model", "icons-64", "--prompt", "red heart <lora:icons-pixel:0.3>", "--adapter", "icons-line=0.5", "--sweep", "0,0.25,1", "--sweep-adapter", "icons-pixel", "--count", "2", "--seed", "3", "--steps", "2", "--output", output));
        Assert.Equal(["00003-strength-0.25.png", "00003-strength-0.png", "00003-strength-1.png", "00003-sweep.png", "00004-strength-0.25.png", "00004-strength-0.png", "00004-strength-1.png"],
            Directory.GetFiles(output).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Contains("00003-sweep.png", shell.Output, StringComparison.Ordinal);
        foreach (var (seed, strength) in new[] { ("3", "0"), ("4", "0.25"), ("4", "1") })
        {
            var alone = shell.Path($"alone-{seed}-{strength}");
            Assert.Equal(0, shell.Lora("generate", "--model", "icons-64", "--prompt", "red heart", "--adapter", "icons-line=0.5", "--adapter", "icons-pixel=" + strength, "--seed", seed, "--steps", "2", "--output", alone));
            var swept = Path.Combine(output, $"0000{seed}-strength-{strength}.png");
            Assert.Equal(Pixels(Single(alone)), Pixels(swept));
            Assert.Contains($"icons-line: 0.5, icons-pixel: {strength}\"", LowRank.Images.PngText.Read(File.ReadAllBytes(swept))["parameters"], StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("sweep: there is no adapter to sweep; name one with --adapter, or in the prompt", "--sweep", "0,1")]
    [InlineData("no adapter is named icons-lime (did you mean \"icons-line\"?); there are icons-line", "--adapter", "icons-line", "--sweep", "0,1", "--sweep-adapter", "icons-lime")]
    [InlineData("1 problem in the options\n\nsweep-adapter  icons-line; give --sweep too", "--adapter", "icons-line", "--sweep-adapter", "icons-line")]
    [InlineData("1 problem in the options\n\nsweep  0,1,0; each strength may stand in it once", "--adapter", "icons-line", "--sweep", "0,1,0")]
    [InlineData("1 problem in the arguments of lora generate\n\n--sweep  0,x; must be X,X,...\n\ntry      lora generate --help", "--sweep", "0,x")]
    [InlineData("2 block strengths; this model takes 8 (BASE, IN01, IN03, MID, OUT02, OUT03, OUT04, OUT05) or 14 (BASE, IN00, IN01, IN02, IN03, IN04, IN05, MID, OUT00, OUT01, OUT02, OUT03, OUT04, OUT05)", "--adapter", "icons-line=blocks:1/0")]
    public void What_cannot_be_swept_or_weighed_is_refused(string message, params string[] extra)
    {
        Assert.NotEqual(0, shell.Lora(["generate", "--model", "icons-64", "--prompt", "x", "--output", shell.Path("o"), .. extra]));
        Assert.Equal(message, shell.Errors.Trim());
    }

    private static string Shipped(string name) => Path.Combine(LowRank.Testing.Repository.Root, "models", "adapters", name + ".safetensors");

    private byte[] Generate(string name, params string[] extra)
    {
        var output = shell.Path(name);
        Assert.Equal(0, shell.Lora(["generate", "--model", "icons-64", "--prompt", "red heart", "--steps", "3", "--seed", "1", "--output", output, .. extra]));
        return Pixels(Single(output));
    }

    private static string Single(string folder) => Assert.Single(Directory.GetFiles(folder, "*.png"));

    private static byte[] Pixels(string path) => LowRank.Images.ImageFile.Read(path).Pixels;
}
