using LowRank.Families;
using LowRank.Foundation;
using LowRank.Hub;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Hub;

/// <summary>A server with a small model, an empty cache, and what was told and waited for.</summary>
internal sealed class Downloads : IDisposable
{
    public const string Model = "studio/tiny";
    public const string Weights = "unet/diffusion_pytorch_model.safetensors";
    public static readonly string Sd1 = System.IO.Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1");

    private readonly TemporaryFolder folder = new();

    public Downloads()
    {
        Tiny = Server.Add(Model, Sd1);
        Transport = new HubTransport { Delay = Wait, Silence = TimeSpan.FromSeconds(20) };
        Options = new HubOptions { Cache = folder.Path("hub"), Endpoint = Server.Endpoint };
    }

    public HubServer Server { get; } = new();
    public HubRepository Tiny { get; }
    public HubOptions Options { get; set; }
    public HubTransport Transport { get; set; }
    public HubCache Cache => new(Options.Cache);

    /// <summary>What was told, one a line.</summary>
    public List<string> Notes { get; } = [];

    /// <summary>Numbers that were reported.</summary>
    public List<HubProgress> Moves { get; } = [];

    /// <summary>Seconds that were waited.</summary>
    public List<double> Waits { get; } = [];

    /// <summary>Runs when somebody waits.</summary>
    public Action OnWait { get; set; } = () => { };

    /// <summary>The weights' file while it is not whole.</summary>
    public string Incomplete => Blob(Weights) + ".incomplete";

    public string Path(params string[] parts) => folder.Path(parts);

    public string Blob(string path) => Cache.Blob(Model, HubServer.HashOf(path, Tiny.Files[path]));

    public FetchedModel Fetch(string model = Model, string? variant = null, bool update = false, CancellationToken stop = default) =>
        FetchModel.Run(model, Options, variant is null ? null : new ModelFileOptions { Variant = variant }, update, new Heard(this), Transport, stop);

    /// <summary>The whole message, with the places of this test as words.</summary>
    public string Refusal<T>(Action act) where T : LowRankException => Assert.Throws<T>(act).Message
        .Replace(Server.Endpoint, "SERVER", StringComparison.Ordinal).Replace(Options.Cache, "CACHE", StringComparison.Ordinal);

    public string Refusal(string model = Model, string? variant = null) => Refusal<CheckpointException>(() => Fetch(model, variant));

    /// <summary>Contents on the server and in the cache are the same, and nothing half is left.</summary>
    public void RequireWhole(string place)
    {
        Assert.Equal(Tiny.Files.Keys.Order(StringComparer.Ordinal), Directory.GetFiles(place, "*", SearchOption.AllDirectories).Select(file => System.IO.Path.GetRelativePath(place, file).Replace('\\', '/')).Order(StringComparer.Ordinal));
        foreach (var (path, contents) in Tiny.Files) Assert.Equal(contents, File.ReadAllBytes(System.IO.Path.Combine(place, path)));
        Assert.Empty(Directory.GetFiles(Options.Cache, "*.incomplete", SearchOption.AllDirectories));
    }

    public void Dispose()
    {
        Server.Dispose();
        folder.Dispose();
    }

    private Task Wait(TimeSpan time, CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        Waits.Add(time.TotalSeconds);
        OnWait();
        return Task.CompletedTask;
    }

    /// <summary>At once, in the thread that reports.</summary>
    private sealed class Heard(Downloads downloads) : IProgress<HubProgress>
    {
        public void Report(HubProgress value)
        {
            if (value.Note is { } note) downloads.Notes.Add(note.Replace(downloads.Options.Cache, "CACHE", StringComparison.Ordinal));
            else downloads.Moves.Add(value);
        }
    }
}
