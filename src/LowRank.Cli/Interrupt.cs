namespace LowRank.Cli;

/// <summary>
/// Ctrl-C, once: the running step is finished and everything saved. Twice: the program stops at once; what was saved last stays good.
/// </summary>
internal sealed class Interrupt : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly Screen screen;
    private readonly string answer;

    /// <param name="screen">Where the first Ctrl-C is answered.</param>
    /// <param name="answer">What happens now.</param>
    public Interrupt(Screen screen, string answer)
    {
        this.screen = screen;
        this.answer = answer;
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
        screen.Error.WriteLine($" {answer}; press Ctrl-C again to stop at once");
        source.Cancel();
    }
}
