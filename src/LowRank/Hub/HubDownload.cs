using System.Globalization;
using System.Net;
using System.Security.Cryptography;

namespace LowRank.Hub;

/// <summary>
/// Brings files of one repository into the cache. Contents are written to <c>blobs/HASH.incomplete</c>, which a later try goes on with, checked against the hash, and only then
/// given their name; a link in the snapshot comes last. So the cache is good at every moment, and other programs may use it and download into it at the same time.
/// </summary>
internal sealed class HubDownload
{
    private const int SharingViolation = unchecked((int)0x80070020), LinuxWouldBlock = 11, MacWouldBlock = 35;   // how systems say that a file is locked
    private static readonly TimeSpan Polling = TimeSpan.FromSeconds(1);
    private readonly HubClient client;
    private readonly HubCache cache;
    private readonly HubName name;
    private readonly HubTransport transport;
    private readonly IProgress<HubProgress>? progress;
    private long done, all, told;

    public HubDownload(HubClient client, HubCache cache, HubName name, HubTransport transport, IProgress<HubProgress>? progress) =>
        (this.client, this.cache, this.name, this.transport, this.progress) = (client, cache, name, transport, progress);

    /// <summary>Bytes that came over the network.</summary>
    public long Received { get; private set; }

    /// <summary>Brings these files at a commit, where they are not there; says first how many bytes.</summary>
    /// <param name="commit">Of the repository.</param>
    /// <param name="paths">In the repository.</param>
    /// <param name="announce">Whether to say so: for the small file that tells which ones are needed, no.</param>
    /// <param name="stop">What is downloaded is kept.</param>
    public async Task BringAsync(string commit, IReadOnlyList<string> paths, bool announce, CancellationToken stop)
    {
        if (paths.FirstOrDefault(path => !HubName.IsSafe(path)) is { } outside) throw client.Errors.Unsafe(outside);
        var lacking = paths.Where(path => !HubCache.Has(PlaceOf(commit, path))).ToList();
        var files = new List<RemoteFile>();
        foreach (var path in lacking) files.Add(await client.LookAsync(name, commit, path, stop).ConfigureAwait(false));
        try
        {
            // two tokenizers of one model often have the same files
            all = files.DistinctBy(file => file.Hash).Sum(file => file.Size);
            done = files.DistinctBy(file => file.Hash).Sum(Present);
            RequireRoom(all - done);
            if (announce && all > done) Tell(string.Create(CultureInfo.InvariantCulture, $"downloading {name.At(commit).Short} to {cache.Root}: {files.Count} file{(files.Count == 1 ? "" : "s")}, {HubProgress.Size(all)}{(done > 0 ? $", of which {HubProgress.Size(done)} are there" : "")}"));
            foreach (var file in files) await BringAsync(commit, file, stop).ConfigureAwait(false);
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            throw client.Errors.NotWritable(problem);
        }
    }

    private string PlaceOf(string commit, string path) => Path.Combine(cache.Snapshot(name.Repository, commit), path.Replace('/', Path.DirectorySeparatorChar));

    private string Incomplete(RemoteFile file) => cache.Blob(name.Repository, file.Hash) + ".incomplete";

    private long Present(RemoteFile file)
    {
        if (File.Exists(cache.Blob(name.Repository, file.Hash))) return file.Size;
        var begun = new FileInfo(Incomplete(file));
        return begun.Exists ? Math.Min(begun.Length, file.Size) : 0;
    }

    private void RequireRoom(long needed)
    {
        var existing = cache.Root;
        while (!Directory.Exists(existing) && Path.GetDirectoryName(existing) is { } parent) existing = parent;
        var free = needed == 0 ? 0 : transport.FreeBytes(existing);
        if (free < needed) throw client.Errors.NoRoom(free, needed);
    }

    private async Task BringAsync(string commit, RemoteFile file, CancellationToken stop)
    {
        using var mine = await LockAsync(file, stop).ConfigureAwait(false);
        var blob = cache.Blob(name.Repository, file.Hash);
        if (!File.Exists(blob))
        {
            Directory.CreateDirectory(Path.GetDirectoryName(blob)!);
            var kept = Present(file);
            await ReceiveAsync(commit, file, stop).ConfigureAwait(false);
            var found = HashOf(file);
            if (found != file.Hash && kept > 0)
            {
                // other programs write such files too, and not always from the front
                Tell($"what was kept of {file.Path} is no beginning of it; it is downloaded anew");
                File.Delete(Incomplete(file));
                done -= file.Size;
                await ReceiveAsync(commit, file, stop).ConfigureAwait(false);
                found = HashOf(file);
            }
            Require(file, found);
            File.Move(Incomplete(file), blob);
        }
        Show(PlaceOf(commit, file.Path), blob);
    }

    /// <summary>One program at a time brings one file; the others wait, and find it there. The hub's own client takes the same lock.</summary>
    private async Task<FileStream> LockAsync(RemoteFile file, CancellationToken stop)
    {
        var folder = Directory.CreateDirectory(cache.Locks(name.Repository)).FullName;
        for (var waits = 0; ; waits++)
        {
            try
            {
                return new FileStream(Path.Combine(folder, file.Hash + ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException problem) when (problem.HResult is SharingViolation or LinuxWouldBlock or MacWouldBlock)
            {
                stop.ThrowIfCancellationRequested();
                if (waits == 0) Tell($"waiting for another program that downloads {file.Path}");
                await transport.Delay(Polling, stop).ConfigureAwait(false);
            }
        }
    }

    private async Task ReceiveAsync(string commit, RemoteFile file, CancellationToken stop)
    {
        var others = done - Present(file);
        var furthest = 0L;
        using var target = new FileStream(Incomplete(file), FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, 0);
        if (target.Length > file.Size) target.SetLength(0);
        await client.TryAsync(file.Path, async silence =>
        {
            if (target.Length == file.Size) return true;
            try
            {
                await ReceiveAsync(commit, file, target, others, silence).ConfigureAwait(false);
            }
            catch (HubBrokenException broken) when (broken.StartOver)
            {
                target.SetLength(0);
                throw;
            }
            return target.Length == file.Size ? true : throw new HubBrokenException("the connection broke");
        }, () => furthest = Math.Max(furthest, target.Length), stop).ConfigureAwait(false);
        target.Flush(flushToDisk: true);
        done = others + file.Size;
        progress?.Report(new HubProgress(null, file.Path, done, all));
    }

    /// <summary>Appends what comes to what is there; where the server begins anew, so does the file.</summary>
    private async Task ReceiveAsync(string commit, RemoteFile file, FileStream target, long others, HubSilence silence)
    {
        using var answer = await client.OpenAsync(name, commit, file.Path, target.Length, silence.Token).ConfigureAwait(false);
        silence.Heard();
        var follows = answer.Response.StatusCode == HttpStatusCode.PartialContent && answer.Response.Content.Headers.ContentRange?.From == target.Length;
        if (answer.Response.StatusCode == HttpStatusCode.PartialContent && !follows) throw new HubBrokenException("another part of the file came than was asked for") { StartOver = true };
        if (!follows) target.SetLength(0);
        target.Position = target.Length;
        using var source = await answer.Response.Content.ReadAsStreamAsync(silence.Token).ConfigureAwait(false);
        var buffer = new byte[1 << 20];
        for (int count; (count = await ReadAsync(source, buffer, silence).ConfigureAwait(false)) > 0;)
        {
            if (target.Length + count > file.Size)
            {
                Remove(target);
                throw client.Errors.WrongContents(file.Path, HubProgress.Size(file.Size), "more");
            }
            // not stopped half way: what is counted is in the file
            await target.WriteAsync(buffer.AsMemory(0, count), CancellationToken.None).ConfigureAwait(false);
            Received += count;
            done = others + target.Length;
            Moved(file);
        }
    }

    /// <summary>What goes wrong here is the network's, and what goes wrong in writing is the disk's.</summary>
    private static async Task<int> ReadAsync(Stream source, Memory<byte> buffer, HubSilence silence)
    {
        try
        {
            var count = await source.ReadAsync(buffer, silence.Token).ConfigureAwait(false);
            silence.Heard();
            return count;
        }
        catch (IOException problem)
        {
            throw new HubBrokenException("the connection broke", null, problem);
        }
    }

    /// <summary>Of what lies on the disk. 64 digits are SHA-256 of the file, 40 are git's name of it: SHA-1 of "blob", its length, a zero byte and the file.</summary>
    private string HashOf(RemoteFile file)
    {
        using var hash = IncrementalHash.CreateHash(file.Hash.Length == 64 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1);
        using var stream = new FileStream(Incomplete(file), FileMode.Open, FileAccess.Read, FileShare.Read, 0);
        if (file.Hash.Length == 40) hash.AppendData(System.Text.Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {stream.Length}\0")));
        var buffer = new byte[1 << 20];
        for (int count; (count = stream.Read(buffer)) > 0;) hash.AppendData(buffer, 0, count);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private void Require(RemoteFile file, string found)
    {
        if (found == file.Hash) return;
        File.Delete(Incomplete(file));
        throw client.Errors.WrongContents(file.Path, file.Hash, found);
    }

    /// <summary>Makes the file visible under its name: a link, relative so that the cache can be moved; where the system makes none, the file itself.</summary>
    private void Show(string place, string blob)
    {
        var folder = Directory.CreateDirectory(Path.GetDirectoryName(place)!).FullName;
        if (HubCache.Has(place)) return;
        File.Delete(place);   // a link without its file
        try
        {
            transport.Link(place, Path.GetRelativePath(folder, blob));
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException or PlatformNotSupportedException)
        {
            var whole = place + ".incomplete";
            File.Copy(blob, whole, overwrite: true);
            File.Move(whole, place);
        }
    }

    private static void Remove(FileStream file)
    {
        file.SetLength(0);
        file.Dispose();
        File.Delete(file.Name);
    }

    private void Moved(RemoteFile file)
    {
        if (done - told is >= 0 and < 1 << 20) return;
        told = done;
        progress?.Report(new HubProgress(null, file.Path, done, all));
    }

    private void Tell(string note) => progress?.Report(new HubProgress(note, "", done, all));
}
