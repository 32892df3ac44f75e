namespace LowRank.Hub;

/// <summary>What a download has of the machine and of time; tests put their own in place.</summary>
internal sealed record HubTransport
{
    /// <summary>How often something is tried before it is given up; a try that brought bytes begins the count anew.</summary>
    public int Tries { get; init; } = 5;

    /// <summary>How long a server may be silent.</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Waits between tries, and for other programs.</summary>
    public Func<TimeSpan, CancellationToken, Task> Delay { get; init; } = Task.Delay;

    /// <summary>Free space of the disk that an existing folder lies on.</summary>
    public Func<string, long> FreeBytes { get; init; } = folder => new DriveInfo(folder).AvailableFreeSpace;

    /// <summary>Makes a symbolic link: its path, and what it leads to.</summary>
    public Action<string, string> Link { get; init; } = (path, target) => File.CreateSymbolicLink(path, target);
}

/// <summary>Something that may be otherwise the next time: a broken connection, a server that is busy.</summary>
/// <param name="reason">In words, for messages.</param>
/// <param name="after">How long the server asks to wait; null where it does not say.</param>
/// <param name="inner">What was thrown.</param>
internal sealed class HubBrokenException(string reason, TimeSpan? after = null, Exception? inner = null) : Exception(reason, inner)
{
    /// <summary>How long the server asks to wait.</summary>
    public TimeSpan? After { get; } = after;

    /// <summary>Whether nobody was there to be asked: a wrong address, no network. Waiting helps seldom, and a mistyped path should not take long to be told of.</summary>
    public bool Unreachable { get; init; }

    /// <summary>Whether what was kept of a file is no beginning of it, so that it is asked for from its first byte.</summary>
    public bool StartOver { get; init; }
}
