using LowRank.Testing;

namespace LowRank.Cli.Tests;

/// <summary>Models by name on the command line, from a server of the test's own.</summary>
public sealed class HubCommandTests : IDisposable
{
    private readonly Shell shell = new();
    private readonly HubServer server = new();

    public HubCommandTests() => server.Add("studio/tiny", Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1"));

    private string[] Hub => ["--endpoint", server.Endpoint, "--hub-cache", shell.Path("hub")];

    private string Place => shell.Path("hub", "models--studio--tiny", "snapshots", HubServer.Commit);

    public void Dispose()
    {
        server.Dispose();
        shell.Dispose();
    }

    [Fact]
    public void A_model_is_downloaded_listed_and_asked_for_again_only_where_it_is_named()
    {
        Assert.Equal(0, shell.Lora(["models", .. Hub]));
        Assert.Equal($" empty     no model is in {shell.Path("hub")}; lora models org/name downloads one\n", shell.Output);
        Assert.Equal(0, shell.Lora(["models", "studio/tiny", .. Hub]));
        Assert.Equal($" downloading studio/tiny@0123456 to {shell.Path("hub")}: 11 files, 559 kB\n", shell.Errors);
        Assert.Equal($" model     studio/tiny@{HubServer.Commit}\n place     {Place}\n received  560 kB\n", shell.Output);
        Assert.Equal(0, shell.Lora(["models", "studio/tiny", .. Hub]));
        Assert.Equal($" model     studio/tiny@{HubServer.Commit}\n place     {Place}\n received  nothing: all was there\n", shell.Output);
        Assert.Equal(0, shell.Lora(["models", .. Hub, "--offline"]));
        Assert.Equal($" studio/tiny@0123456   main   560 kB   whole pipeline\n cache     {shell.Path("hub")}\n", shell.Output);
    }

    [Fact]
    public void Pictures_are_made_with_a_model_by_name_and_a_second_time_without_the_server()
    {
        string[] wanted = ["generate", "--model", "studio/tiny", "--prompt", "a cat", "--steps", "1", "--width", "16", "--height", "16", .. Hub];
        Assert.Equal(0, shell.Lora([.. wanted, "--output", shell.Path("one")]));
        Assert.Equal($" downloading studio/tiny@0123456 to {shell.Path("hub")}: 11 files, 559 kB\n", shell.Errors);
        var asked = server.Requests.Count;
        Assert.Equal(0, shell.Lora([.. wanted, "--output", shell.Path("two"), "--offline"]));
        Assert.Equal(asked, server.Requests.Count);
        Assert.Single(Directory.GetFiles(shell.Path("two"), "*.png"));
    }

    [Fact]
    public void A_recipe_names_a_model_and_the_run_says_which_one_it_was()
    {
        shell.TinyRecipe();
        string[] train = ["train", shell.Path("recipe.toml"), "--set", "model=studio/tiny", "--set", "training.steps=1", "--set", "preview.captions=0", "--set", "preview.prompts=[]", .. Hub];
        Assert.Equal(0, shell.Lora([.. train, "--dry-run"]));
        Assert.Contains($" model     {Place}", shell.Output, StringComparison.Ordinal);
        Assert.Equal(0, shell.Lora(train));
        Assert.Contains($"model = \"{Place}\"", File.ReadAllText(shell.Path("run", "recipe.toml")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_by_name_is_verified()
    {
        Assert.Equal(0, shell.Lora(["verify-model", "studio/tiny", .. Hub]));
        Assert.Contains("verdict   whole", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_tokenizer_that_a_file_lacks_comes_from_the_cache_that_verify_was_given()
    {
        var models = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines");
        server.Add("openai/clip-vit-large-patch14", Path.Combine(models, "sd1", "tokenizer"));
        foreach (var file in Directory.GetFiles(Path.Combine(models, "sd1"), "*.json", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(Path.Combine(models, "sd1"), file)).Where(file => !file.StartsWith("tokenizer", StringComparison.Ordinal)))
        {
            Directory.CreateDirectory(Path.GetDirectoryName(shell.Path("config", file))!);
            shell.Write(Path.Combine("config", file), File.ReadAllText(Path.Combine(models, "sd1", file)));
        }
        File.Copy(Path.Combine(models, "single-file", "sd1.safetensors"), shell.Path("model.safetensors"));
        string[] verify = ["verify", "icons-tango", "--model", shell.Path("model.safetensors"), .. Hub];
        Assert.Equal(CommandLine.Mismatched, shell.Lora([.. verify, "--config", shell.Path("config")]));   // the adapter is another model's; the model opens
        Assert.Contains("(Stable Diffusion 1)", shell.Output, StringComparison.Ordinal);
        Assert.Equal(CommandLine.BadInput, shell.Lora(verify));
        Assert.Contains("give a folder with its configuration", shell.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("generate", "--model", "studio/tiny", "--prompt", "x", "--output", "out")]
    [InlineData("verify-model", "studio/tiny")]
    [InlineData("models", "studio/tiny")]
    [InlineData("evaluate", "--model", "studio/tiny", "--real", "r", "--prompts", "p", "--output", "out")]
    public void Offline_without_the_model_every_command_says_where_it_was_looked_for(params string[] command)
    {
        Assert.Equal(CommandLine.BadInput, shell.Lora([.. command, .. Hub, "--offline"]));
        Assert.Equal(
            $"""
            no model is there: studio/tiny
              here      there is no folder and no file of this name
              cache     {shell.Path("hub")} holds nothing of it
              try       without --offline and HF_HUB_OFFLINE, which forbid to download it; or another cache: --hub-cache FOLDER or HF_HUB_CACHE

            """, shell.Errors);
        Assert.Empty(server.Requests);
    }

    [Fact]
    public void A_recipe_whose_model_is_not_there_offline_is_refused()
    {
        shell.TinyRecipe();
        Assert.Equal(CommandLine.BadInput, shell.Lora(["train", shell.Path("recipe.toml"), "--set", "model=studio/tiny", .. Hub, "--offline"]));
        Assert.StartsWith("no model is there: studio/tiny\n", shell.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void An_address_that_is_none_is_wrong_usage()
    {
        Assert.Equal(CommandLine.WrongUsage, shell.Lora("models", "studio/tiny", "--endpoint", "mirror"));
        Assert.Equal("endpoint: mirror; must be an address such as https://huggingface.co\n", shell.Errors);
    }
}
