using LowRank.Foundation;
using LowRank.Testing;

namespace LowRank.Tests.Hub;

/// <summary>Downloads that break, come wrong, meet each other or are stopped.</summary>
public sealed class BrokenDownloadTests : IDisposable
{
    private const int Half = 200_000;
    private readonly Downloads at = new();

    public void Dispose() => at.Dispose();

    [Fact]
    public void A_connection_that_breaks_in_the_middle_of_a_file_goes_on_from_the_byte_where_it_broke()
    {
        at.Server.On = request => IsWeights(request) && request.From == 0 ? new HubAction { BreakAfter = Half } : null;
        var fetched = at.Fetch();
        at.RequireWhole(fetched.Place);
        Assert.Equal([0, Half], Asked());
        Assert.Equal(at.Tiny.Files.Values.Sum(file => (long)file.Length), fetched.Received);   // no byte twice
        Assert.Equal("unet/diffusion_pytorch_model.safetensors: the connection broke; trying again in 1 s (2 of 5)", at.Notes[1]);
        Assert.Equal([1], at.Waits);
    }

    [Fact]
    public void A_download_that_was_given_up_is_gone_on_with_the_next_time()
    {
        at.Transport = at.Transport with { Tries = 1 };
        at.Server.On = request => IsWeights(request) && request.From == 0 ? new HubAction { BreakAfter = Half } : null;
        Assert.Throws<CheckpointException>(() => at.Fetch());
        Assert.Equal(Half, new FileInfo(at.Incomplete).Length);
        Assert.False(File.Exists(at.Path("hub", "models--studio--tiny", "refs", "main")));
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([0, Half], Asked());
        Assert.Matches("^downloading studio/tiny@0123456 to CACHE: [0-9]+ files?, [0-9]+ kB, of which 200 kB are there$", at.Notes[^1]);
    }

    [Fact]
    public void A_server_that_ignores_ranges_sends_the_file_anew()
    {
        at.Server.On = request => !IsWeights(request) ? null : request.From == 0 ? new HubAction { BreakAfter = Half } : new HubAction { IgnoreRange = true };
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([0, Half], Asked());
    }

    [Fact]
    public void A_server_that_ignores_ranges_and_always_breaks_is_given_up()
    {
        at.Server.On = request => IsWeights(request) ? new HubAction { IgnoreRange = true, BreakAfter = Half } : null;
        Assert.StartsWith("the model studio/tiny cannot be downloaded: the connection broke\n  server    SERVER, asked for unet/diffusion_pytorch_model.safetensors, 5 times\n", at.Refusal(), StringComparison.Ordinal);
        Assert.Equal([0, Half, Half, Half, Half], Asked());
    }

    [Fact]
    public void A_beginning_that_is_none_of_this_file_is_downloaded_anew()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(at.Incomplete)!);
        File.WriteAllBytes(at.Incomplete, new byte[1000]);
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([1000, 0], Asked());
        Assert.Equal("what was kept of unet/diffusion_pytorch_model.safetensors is no beginning of it; it is downloaded anew", at.Notes[^1]);
    }

    [Fact]
    public void A_server_that_sends_another_range_than_was_asked_for_is_asked_for_the_whole_file()
    {
        at.Server.On = request => !IsWeights(request) ? null : request.From == 0 ? new HubAction { BreakAfter = Asked().Count == 1 ? Half : null } : new HubAction { Headers = { ["Content-Range"] = "bytes 7-403575/403576" } };
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([0, Half, 0], Asked());
    }

    [Fact]
    public void A_beginning_that_is_longer_than_the_file_is_thrown_away()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(at.Incomplete)!);
        File.WriteAllBytes(at.Incomplete, new byte[500_000]);
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([0], Asked());
    }

    [Fact]
    public void A_beginning_that_the_server_has_nothing_behind_is_thrown_away()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(at.Incomplete)!);
        File.WriteAllBytes(at.Incomplete, new byte[1000]);
        at.Server.On = request => IsWeights(request) && request.From > 0 ? new HubAction { Status = 416, Body = [] } : null;
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([1000, 0], Asked());
    }

    [Fact]
    public void Contents_with_another_checksum_are_removed_and_told_of()
    {
        var wrong = (byte[])at.Tiny.Files[Downloads.Weights].Clone();
        wrong[^1] ^= 1;
        at.Server.On = request => IsWeights(request) ? new HubAction { Body = wrong } : null;
        Assert.Equal(
            $"""
            a file of the model studio/tiny came damaged, and was removed: unet/diffusion_pytorch_model.safetensors
              expected  {HubServer.HashOf(Downloads.Weights, at.Tiny.Files[Downloads.Weights])}
              found     {HubServer.HashOf(Downloads.Weights, wrong)}
              try       the same command again: the other files are kept; if it comes again, a proxy or mirror changes files: --endpoint https://huggingface.co
            """, at.Refusal());
        Assert.False(File.Exists(at.Incomplete));
        Assert.False(File.Exists(at.Blob(Downloads.Weights)));
        at.Server.On = _ => null;
        at.RequireWhole(at.Fetch().Place);
    }

    [Fact]
    public void A_small_file_is_checked_by_gits_hash()
    {
        at.Server.On = request => request.Path.EndsWith("vae/config.json", StringComparison.Ordinal) && request.Method == "GET" ? new HubAction { Body = new byte[at.Tiny.Files["vae/config.json"].Length] } : null;
        Assert.StartsWith("a file of the model studio/tiny came damaged, and was removed: vae/config.json\n", at.Refusal(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_longer_than_was_said_is_not_read_to_its_end()
    {
        at.Server.On = request => IsWeights(request) ? new HubAction { Body = new byte[3_000_000] } : null;
        Assert.Equal(
            """
            a file of the model studio/tiny came damaged, and was removed: unet/diffusion_pytorch_model.safetensors
              expected  404 kB
              found     more
              try       the same command again: the other files are kept; if it comes again, a proxy or mirror changes files: --endpoint https://huggingface.co
            """, at.Refusal());
        Assert.False(File.Exists(at.Incomplete));
    }

    [Fact]
    public async Task A_stopped_download_keeps_what_came_and_is_gone_on_with()
    {
        using var stop = new CancellationTokenSource();
        at.Server.On = request => IsWeights(request) && request.From == 0 ? new HubAction { BreakAfter = Half, Hang = true } : null;
        var stopping = Task.Run(() =>
        {
            while (!File.Exists(at.Incomplete) || new FileInfo(at.Incomplete).Length < Half) Thread.Sleep(5);
            stop.Cancel();
        });
        Assert.ThrowsAny<OperationCanceledException>(() => at.Fetch(stop: stop.Token));
        await stopping;
        Assert.Equal(Half, new FileInfo(at.Incomplete).Length);
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([0, Half], Asked());
    }

    [Fact]
    public void A_server_that_falls_silent_is_left_after_a_while_and_asked_again()
    {
        at.Transport = at.Transport with { Silence = TimeSpan.FromSeconds(0.3) };
        at.Server.On = request => IsWeights(request) && request.From == 0 ? new HubAction { BreakAfter = Half, Hang = true } : null;
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([0, Half], Asked());
        Assert.Contains("unet/diffusion_pytorch_model.safetensors: nothing was heard for 0.3 s; trying again in 1 s (2 of 5)", at.Notes);
    }

    [Fact]
    public async Task Two_downloads_at_once_bring_every_file_once()
    {
        using var other = new Downloads();
        (other.Options, other.Transport) = (at.Options, at.Transport with { Delay = (_, stop) => Task.Delay(5, stop) });
        at.Transport = other.Transport;
        at.Server.On = request => IsWeights(request) ? new HubAction { Before = () => Thread.Sleep(50) } : null;
        var results = await Task.WhenAll(Task.Run(() => at.Fetch()), Task.Run(() => other.Fetch()));
        at.RequireWhole(results[0].Place);
        Assert.Equal(results[0].Place, results[1].Place);
        Assert.Equal(at.Tiny.Files.Values.Sum(file => (long)file.Length), results.Sum(result => result.Received));
        Assert.Equal([0], Asked());
    }

    [Fact]
    public void A_file_that_another_program_downloads_is_waited_for_and_told_of()
    {
        var folder = Directory.CreateDirectory(at.Cache.Locks(Downloads.Model)).FullName;
        var other = new FileStream(Path.Combine(folder, HubServer.HashOf("model_index.json", at.Tiny.Files["model_index.json"]) + ".lock"), FileMode.Create, FileAccess.ReadWrite, FileShare.None);
        at.OnWait = () => { if (at.Waits.Count == 3) other.Dispose(); };
        at.RequireWhole(at.Fetch().Place);
        Assert.Equal([1, 1, 1], at.Waits);
        Assert.Equal("waiting for another program that downloads model_index.json", at.Notes[0]);
        Assert.Single(at.Notes, note => note.StartsWith("waiting", StringComparison.Ordinal));
    }

    [Fact]
    public void A_disk_without_room_is_noticed_before_the_first_large_byte()
    {
        at.Transport = at.Transport with { FreeBytes = _ => 500_000 };
        Assert.Equal(
            """
            the disk is too full for the model studio/tiny: 500 kB are free, 559 kB are needed
              cache     CACHE
              try       to free some, or a cache on another disk: --hub-cache FOLDER or HF_HUB_CACHE
            """, at.Refusal());
        Assert.Empty(Asked());
    }

    [Fact]
    public void A_cache_that_cannot_be_written_is_told_of()
    {
        File.WriteAllText(at.Options.Cache, "a file where the cache should be");
        Assert.Equal(
            """
            the model studio/tiny cannot be kept: Could not find a part of the path 'CACHE/.locks/models--studio--tiny'
              cache     CACHE
              try       its permissions and the free space, or another folder: --hub-cache FOLDER or HF_HUB_CACHE
            """, at.Refusal());
    }

    private static bool IsWeights(HubRequest request) => request.Method == "GET" && request.Path.Contains("unet/diffusion_pytorch_model.safetensors?", StringComparison.Ordinal);

    /// <summary>First bytes that the weights were asked for from.</summary>
    private List<long> Asked() => [.. at.Server.Requests.Where(IsWeights).Select(request => request.From)];
}
