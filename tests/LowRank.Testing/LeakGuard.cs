using TorchSharp;

namespace LowRank.Testing;

/// <summary>Proves that a piece of code leaves no tensor behind on this thread (P15).</summary>
public static class LeakGuard
{
    public static void AssertNothingLeft(Action action)
    {
        action();   // what is made once (lazily) may stay
        var before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;
        action();
        Assert.Equal(before, DisposeScopeManager.Statistics.ThreadTotalLiveCount);
    }
}
