using System.Globalization;
using System.Net;
using LowRank.Foundation;

namespace LowRank.Hub;

/// <summary>What to say when a model cannot be had. No message holds a token, nor what stands behind the ? of an address.</summary>
/// <param name="name">The model.</param>
/// <param name="options">Where it was to come from.</param>
/// <param name="hasToken">Whether one was sent.</param>
internal sealed class HubErrors(HubName name, HubOptions options, bool hasToken)
{
    private const int LongestSaid = 200;

    private string Endpoint => options.Endpoint.TrimEnd('/');

    private string Page => $"{Endpoint}/{name.Repository}";

    /// <summary>A status as people look it up.</summary>
    public static string Words(HttpStatusCode status) => string.Create(CultureInfo.InvariantCulture, $"{(int)status} ({status switch
    {
        HttpStatusCode.TooManyRequests => "too many requests",
        HttpStatusCode.InternalServerError => "an error of its own",
        HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout => "out of order for now",
        HttpStatusCode.Unauthorized => "not without a token",
        HttpStatusCode.Forbidden => "not allowed",
        HttpStatusCode.NotFound => "not found",
        HttpStatusCode.RequestedRangeNotSatisfiable => "the file is shorter",
        _ => status.ToString(),
    }})");

    /// <summary>The endpoint refused.</summary>
    /// <param name="status">Its answer.</param>
    /// <param name="code">The header X-Error-Code, by which the hub tells its reasons apart.</param>
    /// <param name="message">The header X-Error-Message.</param>
    public CheckpointException Refused(HttpStatusCode status, string? code, string? message) => (status, code) switch
    {
        (_, "GatedRepo") => Gated(message),
        (_, "RevisionNotFound") => NoRevision(),
        (_, "EntryNotFound") => Other(status, message),
        (HttpStatusCode.Unauthorized, _) when hasToken && message?.Contains("Invalid", StringComparison.OrdinalIgnoreCase) == true => BadToken(message),
        (_, "RepoNotFound") or (HttpStatusCode.Unauthorized or HttpStatusCode.NotFound, _) => NoModel(),
        (HttpStatusCode.Forbidden, _) => Forbidden(message),
        _ => Other(status, message),
    };

    /// <summary>A host that the endpoint sent to refused.</summary>
    public CheckpointException RefusedElsewhere(string host, HttpStatusCode status) => new(
        $"""
        the model {name} cannot be downloaded: {Words(status)}
          server    {Endpoint} sends to {host}, which answers so
          try       again, since such addresses are good for minutes only; what is downloaded is kept
        """);

    /// <summary>Tried often enough.</summary>
    public CheckpointException NoAnswer(string what, HubBrokenException broken, int tries) => new(string.Create(CultureInfo.InvariantCulture,
        $"""
        the model {name} cannot be downloaded: {broken.Message}
          server    {Endpoint}, asked for {what}, {tries} time{(tries == 1 ? "" : "s")}{(broken.After is { } wait ? $"; it asks to wait {wait.TotalSeconds:F0} s" : "")}
          here      there is no folder {name.Repository}, and the cache {options.Cache} does not hold all of the model
          try       the path, if a folder was meant; the network; later, since what is downloaded is kept; or a mirror of the hub: --endpoint ADDRESS or HF_ENDPOINT
        """), broken);

    /// <summary>The connection cannot be trusted.</summary>
    public CheckpointException NotSecure(Exception problem) => new(
        $"""
        the model {name} cannot be downloaded: the connection is not secure
          server    {Endpoint}: {Said(problem.Message)}
          try       the address, the clock of this machine and its certificates; a proxy that reads along needs its own certificate installed here
        """, problem);

    /// <summary>The answer is none that a hub gives.</summary>
    public CheckpointException NoHub() => new(
        $"""
        the model {name} cannot be downloaded: the answer is none of a hub
          server    {Endpoint}, asked for the list of the model's files
          try       the address of a hub or a mirror of it in --endpoint or HF_ENDPOINT; {HubOptions.Official} is the hub itself
        """);

    /// <summary>A file cannot be checked.</summary>
    public CheckpointException NoHash(string path) => new(
        $"""
        the model {name} cannot be downloaded: the server says no size and checksum of {path}
          server    {Endpoint}
          try       another mirror, or the hub itself: --endpoint {HubOptions.Official}
        """);

    /// <summary>A redirect that is not followed.</summary>
    public CheckpointException BadRedirect(string how) => new(
        $"""
        the model {name} cannot be downloaded: the server sends {how}
          server    {Endpoint}
          try       another address in --endpoint or HF_ENDPOINT; {HubOptions.Official} is the hub itself
        """);

    /// <summary>A name that leads out of the folder, or that not every system can write.</summary>
    public CheckpointException Unsafe(string path) => new(
        $"""
        the model {name} is refused: it names a file that would not stay in its folder
          file      {Said(path)}
          server    {Endpoint}
          try       another model: this one was not made by an honest program; nothing was written
        """);

    /// <summary>The contents are not what the server said.</summary>
    public CheckpointException WrongContents(string path, string expected, string found) => new(
        $"""
        a file of the model {name} came damaged, and was removed: {path}
          expected  {expected}
          found     {found}
          try       the same command again: the other files are kept; if it comes again, a proxy or mirror changes files: --endpoint {HubOptions.Official}
        """);

    /// <summary>No room.</summary>
    public CheckpointException NoRoom(long free, long needed) => new(
        $"""
        the disk is too full for the model {name}: {HubProgress.Size(free)} are free, {HubProgress.Size(needed)} are needed
          cache     {options.Cache}
          try       to free some, or a cache on another disk: --hub-cache FOLDER or HF_HUB_CACHE
        """);

    /// <summary>The cache cannot be written.</summary>
    public CheckpointException NotWritable(Exception problem) => new(
        $"""
        the model {name} cannot be kept: {problem.Message.TrimEnd('.')}
          cache     {options.Cache}
          try       its permissions and the free space, or another folder: --hub-cache FOLDER or HF_HUB_CACHE
        """, problem);

    /// <summary>It may not be asked for.</summary>
    /// <param name="lacking">What the cache lacks, in words.</param>
    public CheckpointException Offline(string lacking) => new(
        $"""
        no model is there: {name}
          here      there is no folder and no file of this name
          cache     {options.Cache} holds {lacking}
          try       without --offline and HF_HUB_OFFLINE, which forbid to download it; or another cache: --hub-cache FOLDER or HF_HUB_CACHE
        """);

    /// <summary>The repository holds no pipeline.</summary>
    /// <param name="files">Its weights in single files.</param>
    public CheckpointException NoPipeline(IReadOnlyList<string> files) => new(
        $"""
        the model {name} is no pipeline in the diffusers layout: it has no {PipelineFiles.Index}
          has       {(files.Count == 0 ? "no file of weights at its top either" : List(files))}
          try       {(files.Count == 0 ? "another model" : $"one of its files: {name.Repository}/{files[0]}")}; {Page}
        """);

    /// <summary>The file is not in the repository.</summary>
    public CheckpointException NoFile(IReadOnlyList<string> files) => new(
        $"""
        the model {name.Repository} has no file {name.File}{NearestName.Hint(name.File!, files)}
          has       {(files.Count == 0 ? "no file of weights at its top" : List(files))}
          try       one of these, or another revision: {name.Repository}@REVISION/{name.File}
        """);

    /// <summary>All that was chosen is there, and something lacks all the same.</summary>
    public CheckpointException NotWhole(string lacking) => new(
        $"""
        the model {name} is not whole at its place either
          server    {Endpoint} gives {lacking}
          try       another revision, or another model; {Page}
        """);

    /// <summary>A part without weights that are read here.</summary>
    public CheckpointException NoWeights(string part, IReadOnlyList<string> files) => new(
        $"""
        the model {name} cannot be used: its {part} has no weights in safetensors or .bin
          has       {(files.Any(file => file.StartsWith(part + "/", StringComparison.Ordinal)) ? List([.. files.Where(file => file.StartsWith(part + "/", StringComparison.Ordinal))]) : "nothing of this part")}
          try       another revision, or a model that somebody converted; {Page}
        """);

    /// <summary>A part without weights of the variant.</summary>
    public CheckpointException NoVariant(string part, string variant, IReadOnlyList<string> has) => new(
        $"""
        the model {name} has no variant {variant} of its {part}
          has       {string.Join(", ", has.Prepend("the plain weights"))}
          try       {(has.Count == 0 ? "it without --variant" : $"--variant {has[0]}, or none")}; {Page}
        """);

    private static string List(IReadOnlyList<string> files) => string.Join(", ", files.Order(StringComparer.Ordinal).Take(8).Select(Said)) + (files.Count > 8 ? ", …" : "");

    private CheckpointException Gated(string? message) => new(
        $"""
        the model {name} is given only to those who accepted its terms
          server    {Endpoint}{Quoted(message)}
          try       {(hasToken ? $"to accept them on {Page} with the account of your token; a token of limited rights needs that of reading gated models" : $"to accept them on {Page} with an account of yours, and a token of it (settings, access tokens) in HF_TOKEN")}
        """);

    private CheckpointException NoModel() => new(
        $"""
        no model is there: {name}
          here      there is no folder and no file of this name
          server    {Endpoint} has none of it, or keeps it {(hasToken ? "from the owner of your token" : "private")}
          try       the spelling, ORGANISATION/NAME; for a private model a token {(hasToken ? "of somebody who may read it" : "in HF_TOKEN")}
        """);

    private CheckpointException NoRevision() => new(
        $"""
        the model {name.Repository} has no revision {name.Revision}
          server    {Endpoint}
          try       a branch, a tag or a whole commit hash of {Page}/commits/main, or no @: that is main
        """);

    private CheckpointException BadToken(string message) => new(
        $"""
        the token is not accepted
          server    {Endpoint}{Quoted(message)}
          try       a new one (settings, access tokens) in HF_TOKEN; models that are open to everybody need none{(options.Token is null ? $": remove {options.TokenFile}" : "")}
        """);

    private CheckpointException Forbidden(string? message) => new(
        $"""
        the model {name} may not be read
          server    {Endpoint}{Quoted(message)}
          try       {(hasToken ? "a token with the right to read it" : "a token in HF_TOKEN of an account that may read it")}; {Page}
        """);

    private CheckpointException Other(HttpStatusCode status, string? message) => new(
        $"""
        the model {name} cannot be downloaded: {Words(status)}
          server    {Endpoint}{Quoted(message)}
          try       {Page} in a browser: whether it is there; another mirror in --endpoint or HF_ENDPOINT
        """);

    private static string Quoted(string? message) => string.IsNullOrWhiteSpace(message) ? "" : $" says: {Said(message)}";

    /// <summary>What a server says, fit for a terminal: short, and without letters that move the cursor.</summary>
    private static string Said(string text)
    {
        var clean = string.Concat(text.Where(letter => !char.IsControl(letter) && char.GetUnicodeCategory(letter) != UnicodeCategory.Format)).Trim();
        return clean.Length <= LongestSaid ? clean : clean[..LongestSaid] + "…";
    }
}
