using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace LowRank.Testing;

/// <summary>A request as a <see cref="HubServer"/> got it.</summary>
/// <param name="Method">GET or HEAD.</param>
/// <param name="Path">With what stands behind the question mark.</param>
/// <param name="Authorization">The header; null where there is none.</param>
/// <param name="From">First byte that was asked for; 0 without a range.</param>
public sealed record HubRequest(string Method, string Path, string? Authorization, long From);

/// <summary>What a <see cref="HubServer"/> does in place of its usual answer.</summary>
public sealed record HubAction
{
    /// <summary>Status in place of 200 or 206.</summary>
    public int? Status { get; init; }

    /// <summary>Headers, in place of those of the same name.</summary>
    public Dictionary<string, string> Headers { get; init; } = [];

    /// <summary>Contents in place of the file's.</summary>
    public byte[]? Body { get; init; }

    /// <summary>Breaks the connection after so many bytes of the contents.</summary>
    public int? BreakAfter { get; init; }

    /// <summary>Answers with the whole file whatever range was asked for.</summary>
    public bool IgnoreRange { get; init; }

    /// <summary>Runs before anything is sent.</summary>
    public Action? Before { get; init; }

    /// <summary>Waits for the client to go away, after <see cref="BreakAfter"/> bytes, instead of breaking.</summary>
    public bool Hang { get; init; }
}

/// <summary>A repository on a <see cref="HubServer"/>.</summary>
public sealed class HubRepository
{
    /// <summary>Contents by path.</summary>
    public Dictionary<string, byte[]> Files { get; } = new(StringComparer.Ordinal);

    /// <summary>Where branches and tags are.</summary>
    public Dictionary<string, string> Revisions { get; } = [];

    /// <summary>Names that the list of files has beside the files.</summary>
    public List<string> AlsoListed { get; } = [];

    /// <summary>Who may see it: a token; null for everybody.</summary>
    public string? Token { get; set; }

    /// <summary>Whether it is listed, and its files are given only for <see cref="Token"/>.</summary>
    public bool Gated { get; set; }
}

/// <summary>
/// A small hub on 127.0.0.1, in this process: the addresses, headers and redirects of the real one, and faults on demand. Large files
/// (<c>.safetensors</c> and the like) are given by a second port, as storage hosts do.
/// </summary>
public sealed class HubServer : IDisposable
{
    /// <summary>The commit that the branch main of every repository is at.</summary>
    public const string Commit = "0123456789abcdef0123456789abcdef01234567";

    private readonly TcpListener front = new(IPAddress.Loopback, 0), storage = new(IPAddress.Loopback, 0);
    private readonly List<HubRequest> requests = [];
    private readonly CancellationTokenSource ended = new();

    public HubServer()
    {
        foreach (var listener in (TcpListener[])[front, storage])
        {
            listener.Start();
            _ = AcceptAsync(listener, isFront: listener == front);
        }
    }

    public string Endpoint => $"http://127.0.0.1:{Port(front)}";

    public string Storage => $"http://127.0.0.1:{Port(storage)}";

    public Dictionary<string, HubRepository> Repositories { get; } = [];

    /// <summary>Asked before every answer; null for the usual one.</summary>
    public Func<HubRequest, HubAction?> On { get; set; } = _ => null;

    /// <summary>What was asked, in order.</summary>
    public IReadOnlyList<HubRequest> Requests
    {
        get
        {
            lock (requests) return [.. requests];
        }
    }

    /// <summary>Adds a repository with the files of a folder.</summary>
    public HubRepository Add(string name, string? folder = null)
    {
        var repository = Repositories[name] = new HubRepository { Revisions = { ["main"] = Commit } };
        if (folder is null) return repository;
        foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories)) repository.Files[Path.GetRelativePath(folder, file).Replace('\\', '/')] = File.ReadAllBytes(file);
        return repository;
    }

    /// <summary>The name that contents have in a cache: SHA-256 of large files, git's of small ones.</summary>
    public static string HashOf(string path, byte[] contents) => IsLarge(path)
        ? Convert.ToHexStringLower(SHA256.HashData(contents))
#pragma warning disable CA5350 // git's
        : Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {contents.Length}\0")), .. contents]));
#pragma warning restore CA5350

    public void Dispose()
    {
        ended.Cancel();
        front.Dispose();
        storage.Dispose();
        ended.Dispose();
    }

    private static bool IsLarge(string path) => Path.GetExtension(path) is ".safetensors" or ".bin" or ".ckpt";

    private static int Port(TcpListener listener) => ((IPEndPoint)listener.LocalEndpoint).Port;

    private async Task AcceptAsync(TcpListener listener, bool isFront)
    {
        try
        {
            while (true)
            {
                var client = await listener.AcceptTcpClientAsync(ended.Token).ConfigureAwait(false);
                _ = Task.Run(() => Serve(client, isFront));
            }
        }
        catch (Exception problem) when (problem is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // the test is over
        }
    }

    /// <summary>One answer a connection.</summary>
    private void Serve(TcpClient client, bool isFront)
    {
        try
        {
            using (client)
            using (var stream = client.GetStream())
            {
                if (Read(stream) is not { } request) return;
                lock (requests) requests.Add(request);
                var action = On(request) ?? new HubAction();
                action.Before?.Invoke();
                Write(stream, request, action, isFront ? Front(request) : Stored(request));
            }
        }
        catch (IOException)
        {
            // the client went away
        }
    }

    private static HubRequest? Read(NetworkStream stream)
    {
        var text = new StringBuilder();
        for (int read; !text.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal); text.Append((char)read)) if ((read = stream.ReadByte()) < 0) return null;
        var lines = text.ToString().Split("\r\n");
        var first = lines[0].Split(' ');
        string? Header(string name) => lines.FirstOrDefault(line => line.StartsWith(name + ": ", StringComparison.OrdinalIgnoreCase))?[(name.Length + 2)..];
        var from = Header("Range") is { } range ? long.Parse(range["bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture) : 0;
        return new HubRequest(first[0], first[1], Header("Authorization"), from);
    }

    private (int Status, Dictionary<string, string> Headers, byte[] Body) Front(HubRequest request)
    {
        var parts = Uri.UnescapeDataString(request.Path).Trim('/').Split('/');
        var isList = parts is ["api", "models", _, _, "revision", ..];
        var name = isList ? $"{parts[2]}/{parts[3]}" : $"{parts[0]}/{parts.ElementAtOrDefault(1)}";
        if (!Repositories.TryGetValue(name, out var repository)) return Refusal(404, "RepoNotFound", "Repository not found");
        var allowed = repository.Token is null || request.Authorization == "Bearer " + repository.Token;
        if (!allowed && !repository.Gated) return Refusal(401, "RepoNotFound", "Repository not found");
        if (isList)
        {
            var revision = string.Join('/', parts[5..]);
            var commit = repository.Revisions.GetValueOrDefault(revision) ?? (repository.Revisions.ContainsValue(revision) ? revision : null);
            if (commit is null) return Refusal(404, "RevisionNotFound", $"Invalid rev id: {revision}");
            return (200, new() { ["Content-Type"] = "application/json" }, JsonSerializer.SerializeToUtf8Bytes(new { id = name, sha = commit, siblings = repository.Files.Keys.Concat(repository.AlsoListed).Select(file => new { rfilename = file }) }));
        }
        if (!allowed) return Refusal(request.Authorization is null ? 401 : 403, "GatedRepo", $"Access to model {name} is restricted.");
        var path = string.Join('/', parts[4..]);
        if (!repository.Files.TryGetValue(path, out var contents)) return Refusal(404, "EntryNotFound", "Entry not found");
        if (!IsLarge(path)) return (200, new() { ["ETag"] = $"\"{HashOf(path, contents)}\"" }, contents);
        return (302, new()
        {
            ["X-Linked-ETag"] = $"\"{HashOf(path, contents)}\"",
            ["X-Linked-Size"] = contents.Length.ToString(CultureInfo.InvariantCulture),
            ["Location"] = $"{Storage}/{name}/{path.Replace(" ", "%20", StringComparison.Ordinal)}?signature=secret",
        }, []);
    }

    private (int Status, Dictionary<string, string> Headers, byte[] Body) Stored(HubRequest request)
    {
        var parts = request.Path.Split('?')[0].Trim('/').Split('/', 3);
        return (200, new() { ["ETag"] = "\"not-a-hash\"" }, Repositories[$"{parts[0]}/{parts[1]}"].Files[Uri.UnescapeDataString(parts[2])]);
    }

    private static (int Status, Dictionary<string, string> Headers, byte[] Body) Refusal(int status, string code, string message) =>
        (status, new() { ["X-Error-Code"] = code, ["X-Error-Message"] = message }, []);

    private void Write(NetworkStream stream, HubRequest request, HubAction action, (int Status, Dictionary<string, string> Headers, byte[] Body) usual)
    {
        var (status, headers, body) = (action.Status ?? usual.Status, usual.Headers, action.Body ?? usual.Body);
        foreach (var (name, value) in action.Headers) headers[name] = value;
        if (request.From > 0 && status == 200 && !action.IgnoreRange)
        {
            headers.TryAdd("Content-Range", string.Create(CultureInfo.InvariantCulture, $"bytes {request.From}-{body.Length - 1}/{body.Length}"));
            (status, body) = request.From < body.Length ? (206, body[(int)request.From..]) : (416, []);
        }
        headers.TryAdd("Content-Length", body.Length.ToString(CultureInfo.InvariantCulture));
        var head = $"HTTP/1.1 {status} so\r\nConnection: close\r\n" + string.Concat(headers.Select(item => $"{item.Key}: {item.Value}\r\n")) + "\r\n";
        stream.Write(Encoding.ASCII.GetBytes(head));
        if (request.Method == "HEAD") return;
        stream.Write(body, 0, Math.Min(body.Length, action.BreakAfter ?? body.Length));
        stream.Flush();
        if (action.Hang) ended.Token.WaitHandle.WaitOne();
    }
}
