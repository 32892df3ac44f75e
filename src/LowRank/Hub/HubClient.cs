using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text.Json;
using System.Text.RegularExpressions;
using LowRank.Foundation;

namespace LowRank.Hub;

/// <summary>What the hub says of a repository at a revision.</summary>
/// <param name="Sha">The commit.</param>
/// <param name="Siblings">Its files.</param>
internal sealed record RepositoryAnswer(string? Sha, IReadOnlyList<SiblingAnswer>? Siblings);

/// <summary>A file of a repository.</summary>
/// <param name="Rfilename">Its path.</param>
internal sealed record SiblingAnswer(string? Rfilename);

/// <summary>A file on the server.</summary>
/// <param name="Path">In the repository.</param>
/// <param name="Hash">What the contents are named by: SHA-256 of large files, git's SHA-1 of small ones.</param>
/// <param name="Size">Bytes.</param>
internal sealed record RemoteFile(string Path, string Hash, long Size);

/// <summary>
/// Asks a hub over HTTP. Redirects are followed here and not by the platform, so that the token goes to the endpoint and to nobody it sends to. Nothing of an
/// address behind <c>?</c> gets into a message: storage hosts sign there.
/// Source of addresses and headers: huggingface_hub, src/huggingface_hub/file_download.py and hf_api.py.
/// </summary>
internal sealed partial class HubClient : IDisposable
{
    private const int MostHops = 5;
    private const int MostApiBytes = 64 << 20;
    private const int UnreachableTries = 2;
    private static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(2);
    private readonly HttpClient http;
    private readonly HubOptions options;
    private readonly HubTransport transport;
    private readonly Action<string> tell;
    private readonly string? token;

    /// <param name="name">What is asked for, for messages.</param>
    /// <param name="options">Where from.</param>
    /// <param name="transport">With what.</param>
    /// <param name="tell">Takes a sentence when something is tried again.</param>
    public HubClient(HubName name, HubOptions options, HubTransport transport, Action<string> tell)
    {
        (this.options, this.transport, this.tell) = (options, transport, tell);
        token = ReadToken(options);
        Errors = new HubErrors(name, options, token is not null);
        http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = transport.Silence,
            UseCookies = false,
            UseProxy = !options.Address.IsLoopback,
        })
        { Timeout = Timeout.InfiniteTimeSpan };
        http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("lowrank", typeof(HubClient).Assembly.GetName().Version?.ToString(3) ?? "0"));
        http.DefaultRequestHeaders.AcceptEncoding.Add(new StringWithQualityHeaderValue("identity"));   // sizes are those of the file
    }

    /// <summary>What to say when it does not work.</summary>
    public HubErrors Errors { get; }

    /// <inheritdoc/>
    public void Dispose() => http.Dispose();

    /// <summary>The commit of a revision, and its files.</summary>
    public async Task<(string Commit, IReadOnlyList<string> Files)> RepositoryAsync(HubName name, CancellationToken stop)
    {
        var address = new Uri(options.Address, $"api/models/{name.Repository}/revision/{Uri.EscapeDataString(name.Revision)}");
        var json = await TryAsync("the list of its files", async silence =>
        {
            using var answer = await SendAsync(HttpMethod.Get, address, 0, silence.Token).ConfigureAwait(false);
            return await ReadAllAsync(answer, silence).ConfigureAwait(false);
        }, null, stop).ConfigureAwait(false);
        RepositoryAnswer? said = null;
        try
        {
            said = JsonSerializer.Deserialize<RepositoryAnswer>(json, HubJson.Hub);
        }
        catch (JsonException)
        {
            // told below
        }
        if (said is not { Sha: { } sha, Siblings: { } siblings } || !HubName.IsCommit(sha)) throw Errors.NoHub();
        return (sha, [.. siblings.Select(file => file.Rfilename).OfType<string>()]);
    }

    /// <summary>Size and hash of a file.</summary>
    public async Task<RemoteFile> LookAsync(HubName name, string commit, string path, CancellationToken stop)
    {
        var found = await TryAsync(path, async silence =>
        {
            using var answer = await SendAsync(HttpMethod.Head, AddressOf(name, commit, path), 0, silence.Token).ConfigureAwait(false);
            var hash = (answer.Header("X-Linked-ETag") ?? answer.Header("ETag"))?.Trim();
            if (hash?.StartsWith("W/", StringComparison.Ordinal) == true) hash = hash[2..];
            var size = long.TryParse(answer.Header("X-Linked-Size"), NumberStyles.None, CultureInfo.InvariantCulture, out var linked) ? linked : answer.Response.Content.Headers.ContentLength;
            return (Hash: hash?.Trim('"') ?? "", Size: size);
        }, null, stop).ConfigureAwait(false);
        // the hash becomes a file's name
        if (found.Size is not { } bytes || found.Hash.Length is not (40 or 64) || !found.Hash.All(char.IsAsciiHexDigitLower)) throw Errors.NoHash(path);
        return new RemoteFile(path, found.Hash, bytes);
    }

    /// <summary>Asks for a file from a byte on. The caller disposes the answer.</summary>
    public Task<HubAnswer> OpenAsync(HubName name, string commit, string path, long from, CancellationToken stop) => SendAsync(HttpMethod.Get, AddressOf(name, commit, path), from, stop);

    /// <summary>Does something until it works, it is refused, or it was tried often enough.</summary>
    /// <param name="what">Is asked for, for messages.</param>
    /// <param name="act">Reports to the silence whenever it hears from the server.</param>
    /// <param name="done">Counts what is there: when it grew, the tries begin anew. Null: nothing to count.</param>
    /// <param name="stop">The user's.</param>
    public async Task<T> TryAsync<T>(string what, Func<HubSilence, Task<T>> act, Func<long>? done, CancellationToken stop)
    {
        var before = done?.Invoke() ?? 0;
        for (var tries = 1; ; tries++)
        {
            HubBrokenException broken;
            using (var silence = new HubSilence(transport.Silence, stop))
            {
                try
                {
                    return await act(silence).ConfigureAwait(false);
                }
                catch (Exception problem) when (Broken(problem) is { } found)
                {
                    stop.ThrowIfCancellationRequested();   // what the user's stop broke is not tried again
                    broken = found;
                }
            }
            if (done?.Invoke() is { } now && now > before) (before, tries) = (now, 1);
            var wait = broken.After ?? TimeSpan.FromSeconds(Math.Pow(2, tries - 1));
            var most = broken.Unreachable && done is null ? Math.Min(UnreachableTries, transport.Tries) : transport.Tries;
            if (tries >= most || wait > LongestWait) throw Errors.NoAnswer(what, broken, tries);
            tell(string.Create(CultureInfo.InvariantCulture, $"{what}: {broken.Message}; trying again in {wait.TotalSeconds:F0} s ({tries + 1} of {most})"));
            await transport.Delay(wait, stop).ConfigureAwait(false);
        }
    }

    private Uri AddressOf(HubName name, string commit, string path) => new(options.Address, $"{name.Repository}/resolve/{commit}/{string.Join('/', path.Split('/').Select(Uri.EscapeDataString))}");

    private async Task<HubAnswer> SendAsync(HttpMethod method, Uri address, long from, CancellationToken stop)
    {
        var linked = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        for (var hop = 0; hop <= MostHops; hop++)
        {
            using var request = new HttpRequestMessage(method, address);
            if (from > 0) request.Headers.Range = new RangeHeaderValue(from, null);
            if (token is not null && IsEndpoint(address)) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop).ConfigureAwait(false);
            var answer = new HubAnswer(response, linked);
            if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308) || response.Headers.Location is not { } location) return Require(answer, address);
            answer.Remember("X-Linked-ETag", "X-Linked-Size");
            var next = new Uri(address, location);
            // the hub has said all of a file when it sends to where the contents lie
            if (method == HttpMethod.Head && !IsEndpoint(next) && linked.Count == 2) return answer;
            answer.Dispose();
            if (next.Scheme is not ("http" or "https")) throw Errors.BadRedirect($"to an address of the kind {next.Scheme}");
            address = next;
        }
        throw Errors.BadRedirect($"on and on, {MostHops} times");
    }

    private HubAnswer Require(HubAnswer answer, Uri address)
    {
        var status = answer.Response.StatusCode;
        if (answer.Response.IsSuccessStatusCode) return answer;
        using (answer)
        {
            if (status is HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests || (int)status >= 500) throw new HubBrokenException($"{address.Host} answers {HubErrors.Words(status)}", RetryAfter(answer.Response));
            if (status == HttpStatusCode.RequestedRangeNotSatisfiable) throw new HubBrokenException($"{address.Host} answers {HubErrors.Words(status)}") { StartOver = true };
            throw IsEndpoint(address) ? Errors.Refused(status, answer.Header("X-Error-Code"), answer.Header("X-Error-Message")) : Errors.RefusedElsewhere(address.Host, status);
        }
    }

    private static TimeSpan? RetryAfter(HttpResponseMessage response) => response.Headers.RetryAfter switch
    {
        { Delta: { } wait } => wait,
        { Date: { } date } when date > DateTimeOffset.UtcNow => date - DateTimeOffset.UtcNow,
        // the hub says it so: "api";r=0;t=55 (draft-ietf-httpapi-ratelimit-headers)
        _ when response.StatusCode == HttpStatusCode.TooManyRequests && response.Headers.TryGetValues("RateLimit", out var limits)
            && SecondsLeft().Match(string.Join(',', limits)) is { Success: true } left => TimeSpan.FromSeconds(int.Parse(left.Groups["t"].ValueSpan, CultureInfo.InvariantCulture)),
        _ => null,
    };

    [GeneratedRegex(@";\s*t\s*=\s*(?<t>\d{1,6})\b", RegexOptions.ECMAScript)]
    private static partial Regex SecondsLeft();

    private async Task<byte[]> ReadAllAsync(HubAnswer answer, HubSilence silence)
    {
        using var whole = new MemoryStream();
        using var stream = await answer.Response.Content.ReadAsStreamAsync(silence.Token).ConfigureAwait(false);
        var buffer = new byte[64 << 10];
        for (int count; (count = await stream.ReadAsync(buffer, silence.Token).ConfigureAwait(false)) > 0; silence.Heard())
        {
            if (whole.Length + count > MostApiBytes) throw Errors.NoHub();
            whole.Write(buffer, 0, count);
        }
        return whole.ToArray();
    }

    private bool IsEndpoint(Uri address) => Uri.Compare(address, options.Address, UriComponents.SchemeAndServer, UriFormat.SafeUnescaped, StringComparison.OrdinalIgnoreCase) == 0;

    /// <summary>What may be otherwise the next time; null for what will not.</summary>
    private HubBrokenException? Broken(Exception problem) => problem switch
    {
        HubBrokenException broken => broken,
        OperationCanceledException => new HubBrokenException(string.Create(CultureInfo.InvariantCulture, $"nothing was heard for {transport.Silence.TotalSeconds:0.#} s"), null, problem),
        HttpRequestException { InnerException: AuthenticationException secure } => throw Errors.NotSecure(secure),
        _ when Socket(problem)?.SocketErrorCode is { } code => new HubBrokenException(code switch
        {
            SocketError.ConnectionRefused => "the connection was refused",
            SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData => "there is no such host, or no network",
            SocketError.ConnectionReset or SocketError.ConnectionAborted or SocketError.Shutdown => "the connection broke",
            _ => $"no connection ({code})",
        }, null, problem)
        { Unreachable = code is SocketError.ConnectionRefused or SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData },
        HttpRequestException or HttpIOException => new HubBrokenException("the connection broke", null, problem),
        _ => null,
    };

    private static SocketException? Socket(Exception? problem) => problem switch
    {
        null => null,
        SocketException socket => socket,
        HttpRequestException or IOException => Socket(problem.InnerException),
        _ => null,
    };

    private static string? ReadToken(HubOptions options)
    {
        var (text, place) = (options.Token, "HF_TOKEN");
        if (text is null && options.TokenFile is { } file)
        {
            place = file;
            try
            {
                if (File.Exists(file)) text = File.ReadAllText(file);
            }
            catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
            {
                throw new OptionsException($"the file of the token cannot be read: {problem.Message.TrimEnd('.')}; {file}; its permissions, or a token in HF_TOKEN", problem);
            }
        }
        text = text?.Trim();
        if (string.IsNullOrEmpty(text)) return null;
        // not shown, and not given to the platform's own check either, whose message would show it
        if (!text.All(letter => letter is > ' ' and < '\x7f')) throw new OptionsException($"the token in {place} has a character that no token has, such as a space; copy it again");
        return text;
    }
}

/// <summary>An answer, and what the answers before it said on the way here.</summary>
internal sealed class HubAnswer(HttpResponseMessage response, Dictionary<string, string> linked) : IDisposable
{
    public HttpResponseMessage Response { get; } = response;

    public string? Header(string name) => linked.TryGetValue(name, out var said) ? said : Response.Headers.TryGetValues(name, out var values) ? string.Join(' ', values) : null;

    /// <summary>Keeps headers of a redirect for the answer behind it; the first that says so is right.</summary>
    public void Remember(params string[] names)
    {
        foreach (var name in names) if (Header(name) is { } value) linked.TryAdd(name, value);
    }

    public void Dispose() => Response.Dispose();
}

/// <summary>A limit to silence: cancelled when nothing was heard for long, or when the user stops.</summary>
internal sealed class HubSilence : IDisposable
{
    private readonly CancellationTokenSource source;
    private readonly TimeSpan longest;

    public HubSilence(TimeSpan longest, CancellationToken stop)
    {
        this.longest = longest;
        source = CancellationTokenSource.CreateLinkedTokenSource(stop);
        Heard();
    }

    public CancellationToken Token => source.Token;

    /// <summary>Something came.</summary>
    public void Heard() => source.CancelAfter(longest);

    public void Dispose() => source.Dispose();
}
