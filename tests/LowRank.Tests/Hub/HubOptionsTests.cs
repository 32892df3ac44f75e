using LowRank.Foundation;
using LowRank.Hub;
using LowRank.Recipes;

namespace LowRank.Tests.Hub;

public class HubOptionsTests
{
    private static readonly string Home = Path.Combine(Path.GetTempPath(), "somebody");

    [Fact]
    public void Without_variables_the_cache_is_in_the_users_folder_and_the_hub_is_the_hub()
    {
        var options = Of([]);
        Assert.Equal(Path.Combine(Home, ".cache", "huggingface", "hub"), options.Cache);
        Assert.Equal((HubOptions.Official, false, null), (options.Endpoint, options.Offline, options.Token));
        Assert.Equal(Path.Combine(Home, ".cache", "huggingface", "token"), options.TokenFile);
    }

    [Theory]
    [InlineData("/c/hub", "/h/token", "HF_HUB_CACHE=/c/hub", "HUGGINGFACE_HUB_CACHE=/d", "HF_HOME=/h", "XDG_CACHE_HOME=/x")]
    [InlineData("/d", "/h/token", "HUGGINGFACE_HUB_CACHE=/d", "HF_HOME=/h", "XDG_CACHE_HOME=/x")]
    [InlineData("/h/hub", "/h/token", "HF_HOME=/h", "XDG_CACHE_HOME=/x")]
    [InlineData("/x/huggingface/hub", "/x/huggingface/token", "XDG_CACHE_HOME=/x", "HF_HOME= ")]
    [InlineData("/x/huggingface/hub", "/t/mine", "XDG_CACHE_HOME=/x", "HF_TOKEN_PATH=/t/mine")]
    [InlineData("~/models/hub", "~/models/token", "HF_HOME=~/models")]
    public void The_cache_is_where_the_hubs_own_client_has_it(string cache, string token, params string[] variables)
    {
        var options = Of(variables);
        Assert.Equal((Full(cache), Full(token)), (options.Cache, options.TokenFile));
    }

    [Theory]
    [InlineData(true, "HF_HUB_OFFLINE=1")]
    [InlineData(true, "HF_HUB_OFFLINE=yes")]
    [InlineData(true, "TRANSFORMERS_OFFLINE=True")]
    [InlineData(false, "HF_HUB_OFFLINE=0")]
    [InlineData(false, "HF_HUB_OFFLINE=")]
    public void Offline_is_a_switch(bool offline, string variable) => Assert.Equal(offline, Of([variable]).Offline);

    [Fact]
    public void Address_and_token_come_from_their_variables()
    {
        var options = Of(["HF_ENDPOINT=https://mirror.example/hf/", "HF_TOKEN= hf_a \n", "HUGGING_FACE_HUB_TOKEN=hf_b"]);
        Assert.Equal(("https://mirror.example/hf", "hf_a"), (options.Endpoint, options.Token));
        Assert.Equal("https://mirror.example/hf/api", new Uri(options.Address, "api").AbsoluteUri);
        Assert.Equal("hf_b", Of(["HUGGING_FACE_HUB_TOKEN=hf_b"]).Token);
    }

    [Theory]
    [InlineData("mirror.example", "endpoint: mirror.example; must be an address such as https://huggingface.co")]
    [InlineData("ftp://mirror.example", "endpoint: ftp://mirror.example; must be an address such as https://huggingface.co")]
    [InlineData("me:secret@mirror.example", "endpoint: (hidden); must be an address such as https://huggingface.co")]
    [InlineData("https://me:secret@mirror.example", "endpoint: must not hold a name and password; a token goes into HF_TOKEN")]
    [InlineData("https://mirror.example/?key=secret", "endpoint: https://mirror.example/; must end there: no ? and no #")]
    public void An_address_that_cannot_be_used_is_refused_without_showing_what_is_secret(string endpoint, string message)
    {
        var options = Of([]) with { Endpoint = endpoint };
        Assert.Equal(message, Assert.Throws<OptionsException>(() => FetchModel.Run("org/name", options)).Message);
    }

    [Fact]
    public void A_cache_without_a_name_is_refused() => Assert.Equal(["hub-cache: empty; must be a folder"], (Of([]) with { Cache = " " }).Validate());

    private static string Full(string path) => Path.GetFullPath(path.Replace("~", Home, StringComparison.Ordinal));

    private static HubOptions Of(string[] variables) => HubOptions.FromEnvironment(name => Array.Find(variables, item => item.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..], Home);
}
