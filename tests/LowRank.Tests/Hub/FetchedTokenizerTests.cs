using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;

namespace LowRank.Tests.Hub;

/// <summary>The tokenizer that a checkpoint of one file lacks: from the cache, or downloaded once.</summary>
public sealed class FetchedTokenizerTests : IDisposable
{
    private static readonly string File = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "single-file", "sd1.safetensors");
    private readonly Downloads at = new();

    public FetchedTokenizerTests()
    {
        at.Server.Add(TokenizerSearch.ClipVocabulary, Path.Combine(Downloads.Sd1, "tokenizer"));
        at.Server.Repositories[TokenizerSearch.ClipVocabulary].Files["pytorch_model.bin"] = [1];
    }

    /// <summary>Configurations of the small model, which no shapes tell, without its tokenizer.</summary>
    private string Config
    {
        get
        {
            foreach (var part in (string[])["unet", "vae", "text_encoder", "scheduler"])
            {
                foreach (var config in Directory.GetFiles(Path.Combine(Downloads.Sd1, part), "*.json")) System.IO.File.Copy(config, at.Path("config", part, Path.GetFileName(config)), overwrite: true);
            }
            return at.Path("config");
        }
    }

    private string Cached => at.Path("hub", "models--openai--clip-vit-large-patch14", "snapshots", HubServer.Commit);

    public void Dispose() => at.Dispose();

    [Fact]
    public void A_checkpoint_of_one_file_gets_its_tokenizer_once_and_later_without_a_network()
    {
        var fetched = at.Fetch(File);
        Assert.Equal((File, File, Cached), (fetched.Name, fetched.Place, fetched.Tokenizer));
        Assert.Equal(TokenizerSearch.ClipFiles.Order(StringComparer.Ordinal), Directory.GetFiles(Cached).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(["downloading openai/clip-vit-large-patch14@0123456 to CACHE: 4 files, 12 kB"], at.Notes);

        at.Options = at.Options with { Offline = true, Endpoint = "http://127.0.0.1:9" };
        var again = at.Fetch(File);
        Assert.Equal((Cached, 0L), (again.Tokenizer, again.Received));
        using var family = FamilyDetector.Open(File, files: new ModelFileOptions { Hub = at.Options, Config = Config });
        using var named = FamilyDetector.Open(File, files: new ModelFileOptions { Tokenizer = Cached, Config = Config });
        using var prompt = family.EncodePrompts(["a cat"]);
        using var same = named.EncodePrompts(["a cat"]);
        Assert.Equal(same.Hidden.data<float>().ToArray(), prompt.Hidden.data<float>().ToArray());
    }

    [Fact]
    public void A_checkpoint_by_name_comes_with_its_tokenizer()
    {
        at.Tiny.Files["sd1.safetensors"] = System.IO.File.ReadAllBytes(File);
        var fetched = at.Fetch("studio/tiny/sd1.safetensors");
        Assert.Equal(($"studio/tiny@{HubServer.Commit}/sd1.safetensors", Cached), (fetched.Name, fetched.Tokenizer));
        Assert.Equal(2, at.Notes.Count);
    }

    [Fact]
    public void A_tokenizer_that_is_named_is_taken_and_nothing_is_asked_for()
    {
        Assert.Null(LowRank.Recipes.FetchModel.Run(File, at.Options, new ModelFileOptions { Tokenizer = Path.Combine(Downloads.Sd1, "tokenizer") }, false, null, at.Transport, default).Tokenizer);
        Assert.Empty(at.Server.Requests);
    }

    [Fact]
    public void Without_a_tokenizer_and_without_a_server_the_message_says_where_it_was_looked_for_and_why_it_did_not_come()
    {
        at.Server.Repositories.Remove(TokenizerSearch.ClipVocabulary);
        var beside = Path.GetDirectoryName(File)!;
        var lacks =
            $"""
            a checkpoint of one file holds no tokenizer, and none was found for tokenizer; {File}
              looked      {Path.Combine(beside, "tokenizer")}
                          {beside}
                          CACHE, for openai/clip-vit-large-patch14
              try         --tokenizer FOLDER (tokenizer in the recipe's [model_file]) with vocab.json and merges.txt of openai/clip-vit-large-patch14, the vocabulary of all models of this layout; or put its folder beside the file as tokenizer; or a command without --offline, which downloads it once
            """;
        Assert.Equal(lacks +
            """

              download    no model is there: openai/clip-vit-large-patch14
                            here      there is no folder and no file of this name
                            server    SERVER has none of it, or keeps it private
                            try       the spelling, ORGANISATION/NAME; for a private model a token in HF_TOKEN
            """, at.Refusal(File));
        at.Options = at.Options with { Offline = true };
        Assert.Null(at.Fetch(File).Tokenizer);
        lacks = lacks.Replace("looked      ", $"looked      {Path.Combine(Config, "tokenizer")}\n              ", StringComparison.Ordinal);
        Assert.Equal(lacks, at.Refusal<CheckpointException>(() => FamilyDetector.Open(File, files: new ModelFileOptions { Hub = at.Options, Config = Config }).Dispose()));
    }
}
