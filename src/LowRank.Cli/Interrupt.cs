using System.Runtime.InteropServices;

namespace LowRank.Cli;

/// <summary>
/// Ctrl-C, or SIGTERM, which batch systems, service managers and containers send before they kill: the running step is finished and everything saved.
/// Ctrl-C after that: the program stops at once; what was saved last stays good.
/// </summary>
internal sealed class Interrupt : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration termination;
    private readonly Screen screen;
    private readonly string answer;

    /// <param name="screen">Where the first signal is answered.</param>
    /// <param name="answer">What happens now.</param>
    public Interrupt(Screen screen, string answer)
    {
        this.screen = screen;
        this.answer = answer;
        Console.CancelKeyPress += Pressed;
        termination = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Terminated);
    }

    public CancellationToken Token => source.Token;

    public void Dispose()
    {
        Console.CancelKeyPress -= Pressed;
        termination.Dispose();
        source.Dispose();
    }

    private void Pressed(object? sender, ConsoleCancelEventArgs pressed)
    {
        if (source.IsCancellationRequested) return;   // the second one ends the program
        pressed.Cancel = true;
        Stop($" {answer}; press Ctrl-C again to stop at once");
    }

    private void Terminated(PosixSignalContext signal)
    {
        signal.Cancel = true;   // a second one too: whoever wants no save has kill -9
        if (!source.IsCancellationRequested) Stop($" asked to end (SIGTERM): {answer}");
    }

    private void Stop(string told)
    {
        screen.EndLive();
        screen.Error.WriteLine(told);
        source.Cancel();
    }
}
