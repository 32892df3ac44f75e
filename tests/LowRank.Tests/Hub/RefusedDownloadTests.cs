using LowRank.Foundation;
using LowRank.Testing;

namespace LowRank.Tests.Hub;

/// <summary>What is said when a server does not give a model, and what a server that means harm gets.</summary>
public sealed class RefusedDownloadTests : IDisposable
{
    private const string Token = "hf_SECRETsecret123";
    private readonly Downloads at = new();

    public void Dispose() => at.Dispose();

    [Fact]
    public void A_model_that_is_not_there() => Assert.Equal(
        """
        no model is there: studio/tyni
          here      there is no folder and no file of this name
          server    SERVER has none of it, or keeps it private
          try       the spelling, ORGANISATION/NAME; for a private model a token in HF_TOKEN
        """, at.Refusal("studio/tyni"));

    [Fact]
    public void A_private_model_without_a_token_and_with_one()
    {
        at.Tiny.Token = Token;
        Assert.StartsWith("no model is there: studio/tiny\n", at.Refusal(), StringComparison.Ordinal);
        at.Options = at.Options with { Token = "hf_ofSomebodyElse" };
        Assert.Equal(
            """
            no model is there: studio/tiny
              here      there is no folder and no file of this name
              server    SERVER has none of it, or keeps it from the owner of your token
              try       the spelling, ORGANISATION/NAME; for a private model a token of somebody who may read it
            """, at.Refusal());
        at.Options = at.Options with { Token = Token };
        at.RequireWhole(at.Fetch().Place);
    }

    [Fact]
    public void The_token_goes_to_the_endpoint_and_not_to_the_host_that_it_sends_to()
    {
        at.Tiny.Token = Token;
        at.Options = at.Options with { TokenFile = at.Path("token") };
        File.WriteAllText(at.Options.TokenFile, Token + "\n");
        at.Fetch();
        var stored = at.Server.Requests.Where(request => request.Path.Contains("signature", StringComparison.Ordinal)).ToList();
        Assert.Equal(3, stored.Count);
        Assert.All(stored, request => Assert.Null(request.Authorization));
        Assert.All(at.Server.Requests.Except(stored), request => Assert.Equal("Bearer " + Token, request.Authorization));
    }

    [Fact]
    public void No_message_and_no_note_holds_the_token_or_a_signed_address()
    {
        at.Options = at.Options with { Token = Token };
        at.Server.On = request => request.Path.Contains("signature", StringComparison.Ordinal) ? new HubAction { Status = 503 } : null;
        var refusal = at.Refusal();
        at.Server.On = request => request.Path.Contains("signature", StringComparison.Ordinal) ? new HubAction { Status = 403 } : null;
        Assert.Equal(
            """
            the model studio/tiny cannot be downloaded: 403 (not allowed)
              server    SERVER sends to 127.0.0.1, which answers so
              try       again, since such addresses are good for minutes only; what is downloaded is kept
            """, at.Refusal());
        foreach (var text in (string[])[refusal, .. at.Notes, at.Options.ToString()])
        {
            Assert.DoesNotContain(Token, text, StringComparison.Ordinal);
            Assert.DoesNotContain("signature", text, StringComparison.Ordinal);
        }
        Assert.Contains("Token = given", at.Options.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_gated_model_without_a_token_and_with_one_that_has_not_accepted_its_terms()
    {
        (at.Tiny.Gated, at.Tiny.Token) = (true, Token);
        Assert.Equal(
            """
            the model studio/tiny is given only to those who accepted its terms
              server    SERVER says: Access to model studio/tiny is restricted.
              try       to accept them on SERVER/studio/tiny with an account of yours, and a token of it (settings, access tokens) in HF_TOKEN
            """, at.Refusal());
        at.Options = at.Options with { Token = "hf_ofSomebodyElse" };
        Assert.Equal(
            """
            the model studio/tiny is given only to those who accepted its terms
              server    SERVER says: Access to model studio/tiny is restricted.
              try       to accept them on SERVER/studio/tiny with the account of your token; a token of limited rights needs that of reading gated models
            """, at.Refusal());
    }

    [Fact]
    public void A_token_that_is_not_accepted()
    {
        at.Options = at.Options with { Token = Token };
        at.Server.On = _ => new HubAction { Status = 401, Headers = { ["X-Error-Code"] = "", ["X-Error-Message"] = "Invalid credentials in Authorization header" } };
        Assert.Equal(
            """
            the token is not accepted
              server    SERVER says: Invalid credentials in Authorization header
              try       a new one (settings, access tokens) in HF_TOKEN; models that are open to everybody need none
            """, at.Refusal());
        at.Options = at.Options with { Token = null, TokenFile = at.Path("token") };
        File.WriteAllText(at.Options.TokenFile, Token);
        Assert.EndsWith($"models that are open to everybody need none: remove {at.Options.TokenFile}", at.Refusal(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_that_may_not_be_read()
    {
        at.Server.On = _ => new HubAction { Status = 403, Headers = { ["X-Error-Message"] = "your plan \u001b[2Jdoes not allow it" } };
        Assert.Equal(
            """
            the model studio/tiny may not be read
              server    SERVER says: your plan [2Jdoes not allow it
              try       a token in HF_TOKEN of an account that may read it; SERVER/studio/tiny
            """, at.Refusal());
    }

    [Fact]
    public void A_revision_that_is_not_there() => Assert.Equal(
        """
        the model studio/tiny has no revision v9
          server    SERVER
          try       a branch, a tag or a whole commit hash of SERVER/studio/tiny/commits/main, or no @: that is main
        """, at.Refusal("studio/tiny@v9"));

    [Fact]
    public void A_repository_without_a_pipeline_says_which_files_it_has()
    {
        at.Server.Add("studio/files").Files["sd-v1-4.safetensors"] = [1];
        Assert.Equal(
            """
            the model studio/files is no pipeline in the diffusers layout: it has no model_index.json
              has       sd-v1-4.safetensors
              try       one of its files: studio/files/sd-v1-4.safetensors; SERVER/studio/files
            """, at.Refusal("studio/files"));
        Assert.Equal(
            """
            the model studio/files has no file sd-v1-5.safetensors (did you mean "sd-v1-4.safetensors"?)
              has       sd-v1-4.safetensors
              try       one of these, or another revision: studio/files@REVISION/sd-v1-5.safetensors
            """, at.Refusal("studio/files/sd-v1-5.safetensors"));
    }

    [Fact]
    public void A_part_without_weights_that_are_read_here()
    {
        at.Tiny.Files.Remove(Downloads.Weights);
        at.Tiny.Files["unet/model.onnx"] = [1];
        Assert.Equal(
            """
            the model studio/tiny cannot be used: its unet has no weights in safetensors or .bin
              has       unet/config.json, unet/model.onnx
              try       another revision, or a model that somebody converted; SERVER/studio/tiny
            """, at.Refusal());
    }

    [Theory]
    [InlineData(500, "an error of its own")]
    [InlineData(503, "out of order for now")]
    [InlineData(429, "too many requests")]
    public void A_server_that_stays_busy_is_asked_five_times_with_longer_and_longer_waits(int status, string words)
    {
        at.Server.On = _ => new HubAction { Status = status };
        Assert.Equal(
            $"""
            the model studio/tiny cannot be downloaded: 127.0.0.1 answers {status} ({words})
              server    SERVER, asked for the list of its files, 5 times
              here      there is no folder studio/tiny, and the cache CACHE does not hold all of the model
              try       the path, if a folder was meant; the network; later, since what is downloaded is kept; or a mirror of the hub: --endpoint ADDRESS or HF_ENDPOINT
            """, at.Refusal());
        Assert.Equal([1, 2, 4, 8], at.Waits);
        Assert.Equal(5, at.Server.Requests.Count);
    }

    [Fact]
    public void The_hubs_own_way_to_say_how_long_to_wait_is_understood()
    {
        var times = 0;
        at.Server.On = _ => times++ == 0 ? new HubAction { Status = 429, Headers = { ["RateLimit"] = "\"api\";r=0;t=55" } } : null;
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([55], at.Waits);
    }

    [Fact]
    public void A_server_that_says_how_long_to_wait_is_waited_for_unless_it_is_too_long()
    {
        var times = 0;
        at.Server.On = _ => times++ == 0 ? new HubAction { Status = 429, Headers = { ["Retry-After"] = "7" } } : null;
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([7], at.Waits);
        Directory.Delete(at.Options.Cache, recursive: true);
        at.Server.On = _ => new HubAction { Status = 429, Headers = { ["Retry-After"] = "3600" } };
        Assert.Contains("  server    SERVER, asked for the list of its files, 1 time; it asks to wait 3600 s\n", at.Refusal(), StringComparison.Ordinal);
        Assert.Equal([7], at.Waits);
    }

    [Fact]
    public void A_server_that_is_not_there()
    {
        var gone = new HubServer();
        gone.Dispose();
        at.Options = at.Options with { Endpoint = gone.Endpoint };
        Assert.StartsWith($"the model studio/tiny cannot be downloaded: the connection was refused\n  server    {gone.Endpoint}, asked for the list of its files, 2 times\n", at.Refusal(), StringComparison.Ordinal);
        Assert.Equal([1], at.Waits);
    }

    [Fact]
    public void An_endpoint_that_is_no_hub()
    {
        at.Server.On = _ => new HubAction { Body = "<html>Welcome</html>"u8.ToArray() };
        Assert.Equal(
            """
            the model studio/tiny cannot be downloaded: the answer is none of a hub
              server    SERVER, asked for the list of the model's files
              try       the address of a hub or a mirror of it in --endpoint or HF_ENDPOINT; https://huggingface.co is the hub itself
            """, at.Refusal());
    }

    [Theory]
    [InlineData("unet/..\\..\\..\\evil.json", "unet/..\\..\\..\\evil.json")]
    [InlineData("unet/C:evil.json", "unet/C:evil.json")]
    [InlineData("unet/\u001b[2Jevil.json", "unet/[2Jevil.json")]
    public void A_file_that_would_leave_its_folder_is_refused_and_nothing_of_it_is_asked_for(string path, string shown)
    {
        at.Tiny.AlsoListed.Add(path);
        Assert.Equal(
            $"""
            the model studio/tiny is refused: it names a file that would not stay in its folder
              file      {shown}
              server    SERVER
              try       another model: this one was not made by an honest program; nothing was written
            """, at.Refusal());
        Assert.DoesNotContain(at.Server.Requests, request => request.Path.Contains("evil", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("../../../evil")]
    [InlineData("..")]
    [InlineData("a/../../b")]
    public void A_part_that_would_leave_the_model_brings_nothing(string part)
    {
        at.Tiny.Files["model_index.json"] = System.Text.Encoding.UTF8.GetBytes($$"""{"_class_name": "StableDiffusionPipeline", "{{part}}": ["diffusers", "UNet2DConditionModel"]}""");
        at.Tiny.Files[part + "/config.json"] = "{}"u8.ToArray();
        at.Tiny.Files[part + "/model.safetensors"] = [1];
        Assert.StartsWith("the model studio/tiny is refused: it names a file that would not stay in its folder\n", at.Refusal(), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(at.Path("hub"), "*.safetensors", SearchOption.AllDirectories));
    }

    [Theory]
    [InlineData("../../evil")]
    [InlineData("")]
    [InlineData("0123456789ABCDEF0123456789ABCDEF01234567")]
    public void A_hash_that_is_none_is_no_file_name(string hash)
    {
        at.Server.On = request => request.Method == "HEAD" ? new HubAction { Headers = { ["ETag"] = $"\"{hash}\"" } } : null;
        Assert.Equal(
            """
            the model studio/tiny cannot be downloaded: the server says no size and checksum of model_index.json
              server    SERVER
              try       another mirror, or the hub itself: --endpoint https://huggingface.co
            """, at.Refusal());
    }

    [Theory]
    [InlineData("file:///etc/passwd", "to an address of the kind file")]
    [InlineData("/again", "on and on, 5 times")]
    public void A_redirect_to_nowhere_is_not_followed(string to, string how)
    {
        at.Server.On = _ => new HubAction { Status = 302, Headers = { ["Location"] = to } };
        Assert.Equal(
            $"""
            the model studio/tiny cannot be downloaded: the server sends {how}
              server    SERVER
              try       another address in --endpoint or HF_ENDPOINT; https://huggingface.co is the hub itself
            """, at.Refusal());
    }

    [Fact]
    public void A_model_that_was_renamed_is_found_under_its_new_name_with_the_token()
    {
        at.Tiny.Token = Token;
        at.Options = at.Options with { Token = Token };
        at.Server.On = request => request.Path.Contains("studio/former", StringComparison.Ordinal) ? new HubAction { Status = 307, Headers = { ["Location"] = request.Path.Replace("studio/former", "studio/tiny", StringComparison.Ordinal) } } : null;
        at.RequireWhole(at.Fetch("studio/former").Place);
    }

    [Fact]
    public void Offline_nothing_is_asked_for_and_what_is_there_is_taken()
    {
        at.Options = at.Options with { Offline = true };
        Assert.Equal(
            """
            no model is there: studio/tiny
              here      there is no folder and no file of this name
              cache     CACHE holds nothing of it
              try       without --offline and HF_HUB_OFFLINE, which forbid to download it; or another cache: --hub-cache FOLDER or HF_HUB_CACHE
            """, at.Refusal());
        Assert.Empty(at.Server.Requests);
        at.Options = at.Options with { Offline = false };
        var place = at.Fetch().Place;
        at.Options = at.Options with { Offline = true };
        Assert.Equal(place, at.Fetch(update: true).Place);
        Assert.Contains("  cache     CACHE holds no commit for its revision v2\n", at.Refusal("studio/tiny@v2"), StringComparison.Ordinal);
        Assert.Contains("  cache     CACHE holds it without the weights of text_encoder in fp16, the weights of unet in fp16, the weights of vae in fp16\n", at.Refusal(variant: "fp16"), StringComparison.Ordinal);
        Assert.Contains("  cache     CACHE holds it without v2.safetensors\n", at.Refusal("studio/tiny/v2.safetensors"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_token_that_can_be_none_is_not_shown()
    {
        at.Options = at.Options with { Token = "hf_two words" };
        Assert.Equal("the token in HF_TOKEN has a character that no token has, such as a space; copy it again", at.Refusal<OptionsException>(() => at.Fetch()));
    }
}
