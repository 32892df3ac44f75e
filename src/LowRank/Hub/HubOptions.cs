using System.Globalization;
using System.Text;
using LowRank.Foundation;

namespace LowRank.Hub;

/// <summary>Where models by name are looked for, and where they are downloaded from: the Hugging Face hub, or a mirror of it.</summary>
public sealed record HubOptions
{
    /// <summary>The hub's own address.</summary>
    public const string Official = "https://huggingface.co";

    /// <summary>Folder of the cache, laid out as every program that uses the hub does: <c>models--ORG--NAME/{blobs,refs,snapshots}</c>. Made when something is downloaded.</summary>
    public required string Cache { get; init; }

    /// <summary>Address that models are downloaded from: http or https, without a name and password in it.</summary>
    public string Endpoint { get; init; } = Official;

    /// <summary>Whether nothing may be downloaded: a model that is not in the cache is an error then.</summary>
    public bool Offline { get; init; }

    /// <summary>Proves to <see cref="Endpoint"/> who asks, and is sent nowhere else; not in <see cref="object.ToString"/> nor in any message. Null: none.</summary>
    public string? Token { get; init; }

    /// <summary>File that a token is read from when something is downloaded and <see cref="Token"/> is null; it need not be there. Null: none.</summary>
    public string? TokenFile { get; init; }

    /// <summary>
    /// What the environment says, by the names that the hub's own client reads: <c>HF_HUB_CACHE</c>, <c>HF_HOME</c> or <c>XDG_CACHE_HOME</c> for the cache, <c>HF_ENDPOINT</c>,
    /// <c>HF_HUB_OFFLINE</c>, <c>HF_TOKEN</c> or <c>HUGGING_FACE_HUB_TOKEN</c>, <c>HF_TOKEN_PATH</c>.
    /// Source: huggingface_hub, src/huggingface_hub/constants.py and utils/_auth.py.
    /// </summary>
    public static HubOptions FromEnvironment() => FromEnvironment(Environment.GetEnvironmentVariable, Environment.GetFolderPath(Environment.SpecialFolder.UserProfile));

    /// <summary>The same for other variables.</summary>
    /// <param name="variable">The value of a variable; null where it is not set.</param>
    /// <param name="home">The user's folder.</param>
    internal static HubOptions FromEnvironment(Func<string, string?> variable, string home)
    {
        var folder = Place("HF_HOME") ?? Path.Combine(Place("XDG_CACHE_HOME") ?? Path.Combine(home, ".cache"), "huggingface");
        return new HubOptions
        {
            Cache = Path.GetFullPath(Place("HF_HUB_CACHE") ?? Place("HUGGINGFACE_HUB_CACHE") ?? Path.Combine(folder, "hub")),
            Endpoint = Text("HF_ENDPOINT")?.TrimEnd('/') ?? Official,
            Offline = IsOn("HF_HUB_OFFLINE") || IsOn("TRANSFORMERS_OFFLINE"),
            Token = Text("HF_TOKEN") ?? Text("HUGGING_FACE_HUB_TOKEN"),
            TokenFile = Path.GetFullPath(Place("HF_TOKEN_PATH") ?? Path.Combine(folder, "token")),
        };

        string? Text(string name) => variable(name)?.Trim() is { Length: > 0 } text ? text : null;
        string? Place(string name) => Text(name) is not { } path ? null : path == "~" || path.StartsWith("~/", StringComparison.Ordinal) ? home + path[1..] : path;
        bool IsOn(string name) => Text(name)?.ToUpperInvariant() is "1" or "ON" or "YES" or "TRUE";
    }

    /// <summary>All problems of these options, each as <c>option: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        if (string.IsNullOrWhiteSpace(Cache)) problems.Add("hub-cache: empty; must be a folder");
        if (!Uri.TryCreate(Endpoint, UriKind.Absolute, out var address) || address.Scheme is not ("http" or "https")) problems.Add($"endpoint: {(Endpoint.Contains('@', StringComparison.Ordinal) ? "(hidden)" : Endpoint)}; must be an address such as {Official}");
        else if (address.UserInfo.Length > 0) problems.Add("endpoint: must not hold a name and password; a token goes into HF_TOKEN");
        else if (address.Query.Length > 0 || address.Fragment.Length > 0) problems.Add($"endpoint: {address.GetLeftPart(UriPartial.Path)}; must end there: no ? and no #");
        return problems;
    }

    /// <summary>The address, with a slash at its end so that others can be put behind it.</summary>
    internal Uri Address => new(Endpoint.TrimEnd('/') + "/");

    /// <exception cref="OptionsException">Lists every problem.</exception>
    internal void Require()
    {
        var problems = Validate();
        if (problems.Count > 0) throw new OptionsException(string.Join('\n', problems));
    }

    /// <summary>All but the token.</summary>
    private bool PrintMembers(StringBuilder text)
    {
        text.Append(CultureInfo.InvariantCulture, $"Cache = {Cache}, Endpoint = {Endpoint}, Offline = {Offline}, Token = {(Token is null ? "none" : "given")}, TokenFile = {TokenFile}");
        return true;
    }
}
