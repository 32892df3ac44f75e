using Spectre.Console;

namespace LowRank.Cli;

/// <summary>Where a command writes: results to one side, warnings and errors to the other. Tests hand in writers of their own.</summary>
internal sealed class Screen
{
    private readonly Func<int> width;

    private Screen(TextWriter output, TextWriter error, bool terminal, Func<int> width)
    {
        Out = output;
        Error = error;
        IsTerminal = terminal;
        this.width = width;
        Console = new(() => AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(output),
            Ansi = terminal ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = terminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
        }));
    }

    public TextWriter Out { get; }
    public TextWriter Error { get; }

    /// <summary>Whether a person watches: live lines and colours, or plain lines for a file or pipe.</summary>
    public bool IsTerminal { get; }
    public int Width => width();

    /// <summary>Made at first use, so that <c>--help</c> stays quick.</summary>
    private Lazy<IAnsiConsole> Console { get; }

    public static Screen Standard()
    {
        var terminal = !System.Console.IsOutputRedirected;
        return new Screen(System.Console.Out, System.Console.Error, terminal, terminal ? () => Math.Max(40, System.Console.WindowWidth) : () => 120);
    }

    public static Screen For(TextWriter output, TextWriter error) => new(output, error, terminal: false, () => 120);

    /// <summary>A line with Spectre's markup; escape what users typed with <see cref="Escape"/>.</summary>
    public void Markup(string line) => Console.Value.MarkupLine(line);

    public static string Escape(string text) => Spectre.Console.Markup.Escape(text);

    public void Line(string text = "") => Out.WriteLine(text);

    /// <summary>Rewrites the bottom line; only for terminals. Leaves room for the ^C that a terminal writes behind it.</summary>
    public void Live(string text) => Out.Write("\r\x1b[2K" + (text.Length <= LiveWidth ? text : text[..LiveWidth]));

    public int LiveWidth => Width - 3;

    /// <summary>Takes the live line away.</summary>
    public void EndLive()
    {
        if (IsTerminal) Out.Write("\r\x1b[2K");
    }

    /// <summary>Label and text in two columns, the text folded to the width: the shape of every report.</summary>
    public void Row(string label, string text, int labelWidth = 10)
    {
        var room = Math.Max(30, Width - labelWidth - 3);
        var first = true;
        foreach (var line in text.Split('\n').SelectMany(line => Fold(line, room)))
        {
            Line(" " + (first ? label : "").PadRight(labelWidth) + line);
            first = false;
        }
    }

    /// <summary>A report of the library: its first line as it is, then lines of a word in the first nine letters and what it says, folded to the width.</summary>
    public void Report(string report)
    {
        const int word = 9;
        var lines = report.Split('\n');
        Line(" " + lines[0]);
        foreach (var line in lines[1..]) Row(line[..word].TrimEnd(), line[(word + 1)..]);
    }

    /// <summary>Label and a command to copy: never folded, so that it stays one line for the clipboard.</summary>
    public void Command(string label, string command) => Line(" " + label.PadRight(10) + command);

    /// <summary>Lines of a message that begin with blanks have a word and then text from the eleventh letter on: what is folded goes below the text.</summary>
    private static IEnumerable<string> Fold(string text, int room)
    {
        const int column = 10;
        var hang = text.StartsWith("  ", StringComparison.Ordinal) ? column : 0;
        while (text.Length > room)
        {
            var cut = text.LastIndexOf("   ", room, StringComparison.Ordinal);   // between items before between words
            if (cut <= hang) cut = text.LastIndexOf(' ', room);
            if (cut <= hang) break;   // a path or a hash is never cut
            yield return text[..cut].TrimEnd();
            text = new string(' ', hang) + text[cut..].TrimStart();
        }
        yield return text;
    }
}
