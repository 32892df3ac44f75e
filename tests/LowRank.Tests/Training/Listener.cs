using LowRank.Training;

namespace LowRank.Tests.Training;

/// <summary>Keeps every event, at once and in order (the runtime's own <see cref="Progress{T}"/> reports later and on other threads).</summary>
internal sealed class Listener(Action<TrainingEvent>? also = null) : IProgress<TrainingEvent>
{
    public List<TrainingEvent> All { get; } = [];

    public void Report(TrainingEvent value)
    {
        All.Add(value);
        also?.Invoke(value);
    }
}
