using System.Collections.Concurrent;
using System.Diagnostics;

namespace LowRank.Recipes;

/// <summary>How far the experiment is: a part was made.</summary>
public sealed class BenchKidProgress
{
    internal BenchKidProgress(int done, int parts, string part, double seconds, double secondsLeft) => (Done, Parts, Part, Seconds, SecondsLeft) = (done, parts, part, seconds, secondsLeft);

    /// <summary>How many are made.</summary>
    public int Done { get; }

    /// <summary>How many there are.</summary>
    public int Parts { get; }

    /// <summary>The part's name.</summary>
    public string Part { get; }

    /// <summary>Wall time of the part; 0 where it was there already.</summary>
    public double Seconds { get; }

    /// <summary>About how long the others will take, from those made so far in this run; 0 where nothing is known.</summary>
    public double SecondsLeft { get; }
}

/// <summary>Has parts made, so many at a time. The first that fails stops the others, which keep what they have.</summary>
internal sealed class BenchKidCrew(BenchKidWorker worker, IProgress<BenchKidProgress>? progress, int count, CancellationToken cancellation)
{
    private readonly Stopwatch watch = Stopwatch.StartNew();
    private readonly Lock reporting = new();
    private int done;
    private int made;

    /// <summary>Makes those of the parts that are not made yet.</summary>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public void Make(IReadOnlyList<BenchKidPart> parts, BenchKidOptions options, bool alone, int atOnce)
    {
        var missing = parts.Where(part => part.Measured(options) is null).ToList();
        done += parts.Count - missing.Count;
        var (queue, problems) = (new ConcurrentQueue<BenchKidPart>(missing), new ConcurrentQueue<Exception>());
        using var failed = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var threads = Enumerable.Range(0, Math.Min(atOnce, missing.Count)).Select(_ => new Thread(Work) { IsBackground = true }).ToList();
        if (threads.Count == 1) Work();   // no other thread where there is no need for one
        else threads.ForEach(thread => thread.Start());
        if (threads.Count > 1) threads.ForEach(thread => thread.Join());
        if (problems.FirstOrDefault(problem => problem is not OperationCanceledException) is { } first) System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(first);
        cancellation.ThrowIfCancellationRequested();
        if (problems.TryDequeue(out var stopped)) System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(stopped);

        void Work()
        {
            try
            {
                while (!failed.IsCancellationRequested && queue.TryDequeue(out var part))
                {
                    var time = Stopwatch.StartNew();
                    worker(part.Name, alone, failed.Token);
                    Report(part, time.Elapsed.TotalSeconds);
                }
            }
            catch (Exception problem)
            {
                problems.Enqueue(problem);
                failed.Cancel();
            }
        }
    }

    private void Report(BenchKidPart part, double seconds)
    {
        lock (reporting)
        {
            (done, made) = (done + 1, made + 1);
            progress?.Report(new BenchKidProgress(done, count, part.Name, seconds, watch.Elapsed.TotalSeconds / made * (count - done)));
        }
    }
}
