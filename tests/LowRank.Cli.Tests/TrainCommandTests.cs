namespace LowRank.Cli.Tests;

public sealed class TrainCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void A_run_leaves_a_folder_with_everything_in_it()
    {
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe()));
        Assert.Equal("", shell.Errors);
        foreach (var name in (string[])["recipe.toml", "events.jsonl", "adapter.safetensors", "adapter-000002.safetensors", "before-after.png", "loss.png", "state", "tensorboard"])
        {
            Assert.True(Path.Exists(shell.Path("run", name)), $"{name} is missing");
        }
        Assert.Contains("done in", shell.Output, StringComparison.Ordinal);
        Assert.Contains(shell.Path("run", "adapter.safetensors"), shell.Output, StringComparison.Ordinal);
        Assert.Contains("lora generate --model icons-64 --adapter", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_loss_on_held_out_pictures_is_told_while_training_goes_on()
    {
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe(), "--set", "validation.share=0.38", "--set", "validation.every=1"));
        Assert.Matches(@"(?m)^ held-out loss \d\.\d{4} before training$", shell.Output);
        Assert.Matches(@"(?m)^ held-out loss \d\.\d{4} at step 2 \([+-]?\d+\.\d %\)$", shell.Output);
        Assert.Contains(" held out", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_full_training_leaves_a_model_that_the_next_command_draws_with()
    {
        var recipe = File.ReadAllText(shell.TinyRecipe()).Replace("[adapter]\nrank = 2", "[full]\nparts = [\"text_encoder\"]", StringComparison.Ordinal);
        shell.Write("recipe.toml", "method = \"full\"\n" + recipe);
        Assert.Equal(0, shell.Lora("train", shell.Path("recipe.toml")));
        Assert.Equal("", shell.Errors);
        var model = shell.Path("run", "model");
        Assert.Contains(" trained   all of text_encoder: 19 layers, 0.69 M parameters; the model 17.2 MB\n", shell.Output, StringComparison.Ordinal);
        Assert.Contains($" saved at step 2: {shell.Path("run", "state", "step-000002")}\n", shell.Output, StringComparison.Ordinal);
        Assert.Contains($" model     {model}   17.3 MB, a diffusers folder (diffusers, ComfyUI, kohya)\n", shell.Output, StringComparison.Ordinal);
        Assert.Contains($" next      lora generate --model {model} --prompt \"red heart\" --output pictures\n", shell.Output, StringComparison.Ordinal);
        Assert.Equal(0, shell.Lora("generate", "--model", model, "--prompt", "red heart", "--steps", "1", "--output", shell.Path("pictures")));
    }

    [Fact]
    public void A_widened_model_is_an_inpainting_model_and_the_next_command_says_what_it_is_given()
    {
        var recipe = File.ReadAllText(shell.TinyRecipe()).Replace("[adapter]\nrank = 2", "[inpainting]\nwiden = true", StringComparison.Ordinal);
        shell.Write("recipe.toml", "method = \"full\"\n" + recipe);
        Assert.Equal(0, shell.Lora("train", shell.Path("recipe.toml")));
        Assert.Equal("", shell.Errors);
        var model = shell.Path("run", "model");
        Assert.Contains(" model     icons-64: Stable Diffusion 1 inpainting layout, 64 px, 8.6 M parameters, v_prediction; denoiser 7.2 M\n", shell.Output, StringComparison.Ordinal);
        Assert.Contains($" next      lora generate --model {model} --prompt \"red heart\" --image PICTURE.png --mask MASK.png --noise-strength 1 --output pictures\n", shell.Output, StringComparison.Ordinal);
        var picture = Directory.GetFiles(shell.Path("pictures"), "*.png").Order(StringComparer.Ordinal).First();
        var mask = Path.Combine(LowRank.Testing.Repository.Root, "docs", "pictures", "mask.png");
        Assert.Equal(0, shell.Lora("generate", "--model", model, "--prompt", "red heart", "--steps", "1", "--image", picture, "--mask", mask, "--noise-strength", "1", "--output", shell.Path("painted")));
    }

    [Fact]
    public void The_resolved_recipe_runs_again_and_gives_the_same_bytes()
    {
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe()));
        Assert.Equal(0, shell.Lora("train", shell.Path("run", "recipe.toml"), "--output", shell.Path("again")));
        Assert.Equal(File.ReadAllBytes(shell.Path("run", "adapter.safetensors")), File.ReadAllBytes(shell.Path("again", "adapter.safetensors")));
    }

    [Fact]
    public void The_kind_of_adapter_is_told()
    {
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe(), "--dry-run", "--set", "adapter.kind='dora'"));
        Assert.Contains(" adapter   dora, rank 2", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_dry_run_says_what_would_happen_and_writes_nothing()
    {
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe(), "--dry-run"));
        Assert.False(Directory.Exists(shell.Path("run")));
        Assert.Contains(" adapter   lora, rank 2", shell.Output, StringComparison.Ordinal);
        foreach (var word in (string[])["3 pictures, 3 captions", "56 modules", "4 of 2 pictures", "memory", "s a step"]) Assert.Contains(word, shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Prior_pictures_are_planned_drawn_and_used_again()
    {
        var recipe = shell.TinyRecipe("[prior]\nprompt = \"heart\"\nfolder = \"class\"\ncount = 2\nsteps = 1\n");
        Assert.Equal(0, shell.Lora("train", recipe, "--dry-run"));
        Assert.Contains("2 pictures are drawn first, about ", shell.Output, StringComparison.Ordinal);
        Assert.False(Directory.Exists(shell.Path("class")));
        Assert.Equal(0, shell.Lora("train", recipe, "--set", "method=dreambooth"));
        Assert.Contains("drawing prior pictures 2/2\n", shell.Output, StringComparison.Ordinal);
        Assert.Contains("class: 2 pictures, all captioned \"heart\", 0 skipped, 3 uses an epoch", shell.Output, StringComparison.Ordinal);
        Assert.Equal(0, shell.Lora("train", recipe, "--output", shell.Path("again")));
        Assert.DoesNotContain("drawing", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_run_into_a_used_folder_is_refused_before_anything_is_touched()
    {
        Assert.Equal(0, shell.Lora("train", shell.TinyRecipe()));
        var before = File.ReadAllBytes(shell.Path("run", "adapter.safetensors"));
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("train", shell.TinyRecipe()));
        Assert.StartsWith($"the output folder already holds a run: {shell.Path("run")}", shell.Errors, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(shell.Path("run", "adapter.safetensors")));
    }

    [Fact]
    public void A_wrong_recipe_exits_with_2_and_lists_every_problem()
    {
        var recipe = shell.Write("wrong.toml", "model = \"icons-64\"\noutput = \"out\"\n[[data]]\nfolder = \"pictures\"\n[training]\nstpes = 5\n[adapter]\nrank = \"four\"\n");
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("train", recipe));
        Assert.Equal($"""
            2 problems in {recipe}

            training.stpes  unknown key; did you mean training.steps?
            adapter.rank    the text "four" where a whole number is expected

            """.ReplaceLineEndings("\n"), shell.Errors);
        Assert.Equal("", shell.Output);
    }
}
