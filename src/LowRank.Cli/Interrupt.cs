namespace LowRank.Cli;

/// <summary>
/// Ctrl-C, once: the running step is finished and everything saved. Twice: the program stops at once; what was saved last stays good.
/// </summary>
internal sealed class Interrupt : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly Screen screen;

    public Interrupt(Screen screen)
    {
        this.screen = screen;
        Console.CancelKeyPress += Stop;
    }

    public CancellationToken Token => source.Token;

    public void Dispose()
    {
        Console.CancelKeyPress -= Stop;
        source.Dispose();
    }

    private void Stop(object? sender, ConsoleCancelEventArgs pressed)
    {
        if (source.IsCancellationRequested) return;   // the second one ends the program
        pressed.Cancel = true;
        screen.EndLive();
        screen.Error.WriteLine("finishing this step, then saving; press Ctrl-C again to stop at once");
        source.Cancel();
    }
}
