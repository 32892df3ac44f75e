using LowRank.Foundation;
using LowRank.Images;

namespace LowRank.Data;

/// <summary>
/// Reads batches ahead on pool threads, a bounded number of them, and hands them out in the order they were planned.
/// Plans are drawn on the calling thread, so the same seed gives the same batches at any speed. Loader threads touch no tensors.
/// </summary>
internal sealed class BatchLoader : IDisposable
{
    private readonly Func<PlannedBatch?> plans;
    private readonly int ahead;
    private readonly Queue<Task<Batch>> loading = new();
    private readonly CancellationTokenSource stop = new();
    private bool finished;

    /// <summary>A loader.</summary>
    /// <param name="plans">The next batch, or null at the end; called on the thread that calls <see cref="Next"/>.</param>
    /// <param name="ahead">How many batches are read at once, before they are asked for; 1 or more.</param>
    public BatchLoader(Func<PlannedBatch?> plans, int ahead = 2) => (this.plans, this.ahead) = (plans, ahead);

    /// <summary>The next batch, or null at the end. Waits where reading is slower than training.</summary>
    /// <exception cref="DatasetException">A file has changed or gone since it was checked.</exception>
    public Batch? Next()
    {
        while (!finished && loading.Count <= ahead)
        {
            if (plans() is { } plan) loading.Enqueue(Task.Run(() => Load(plan, stop.Token)));
            else finished = true;
        }
        return loading.TryDequeue(out var next) ? next.GetAwaiter().GetResult() : null;
    }

    /// <summary>Reads a batch on this thread.</summary>
    public static Batch Load(PlannedBatch plan, CancellationToken cancellationToken = default)
    {
        var size = plan.Samples[0].Placement.Size;
        var each = checked((int)(3 * size.Pixels));
        var pixels = new byte[each * plan.Samples.Count];
        var masks = plan.Samples.Any(sample => sample.Image.Mask is not null) ? new byte[pixels.Length / 3] : null;
        masks?.AsSpan().Fill(255);
        for (var i = 0; i < plan.Samples.Count; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var sample = plan.Samples[i];
            Read(sample.Image.Path, content => ResizeCrop.Load(content, sample.Placement).Pixels).CopyTo(pixels, each * i);
            if (sample.Image.Mask is { } mask) Read(mask.Path, content => ResizeCrop.LoadMask(content, sample.Placement, mask.Alpha)).CopyTo(masks!, each / 3 * i);
        }
        return new Batch(plan, pixels, masks);
    }

    /// <summary>Waits for what is being read, and drops it.</summary>
    public void Dispose()
    {
        stop.Cancel();
        foreach (var task in loading)
        {
            try
            {
                task.Wait();
            }
            catch (AggregateException)
            {
                // nobody will ask for this batch any more
            }
        }
        stop.Dispose();
    }

    private static byte[] Read(string path, Func<byte[], byte[]> pixels)
    {
        try
        {
            return pixels(File.ReadAllBytes(path));
        }
        catch (Exception error) when (error is ImageDefectException or InvalidOperationException or IOException or UnauthorizedAccessException)
        {
            throw new DatasetException($"picture changed after it was checked: {path}\n  {error.Message}", error);
        }
    }
}
