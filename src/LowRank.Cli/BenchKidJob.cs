using System.Diagnostics;
using System.Globalization;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary>A command line of <c>lora bench kid</c>, to be shown and to be given to a process of its own.</summary>
/// <param name="Recipe">The recipe's file.</param>
/// <param name="Settings">Keys that are overridden.</param>
/// <param name="Quick">Whether it is the quick form.</param>
/// <param name="Output">Folder of the experiment.</param>
internal sealed record BenchKidLine(string Recipe, IReadOnlyList<string> Settings, bool Quick, string Output)
{
    /// <summary>Arguments behind the program's name.</summary>
    public IReadOnlyList<string> Arguments() => ["bench", "kid", Recipe, .. Settings.SelectMany(setting => (string[])["--set", setting]), .. Quick ? (string[])["--quick"] : []];

    public override string ToString() => string.Join(' ', ["lora", .. Arguments().Select(Words.Quoted)]);
}

/// <summary>Runs the experiment: each part in a process of its own, so that memory is measured for each and cores are shared out.</summary>
internal static class BenchKidJob
{
    public static int Plan(Screen screen, BenchKidOptions options)
    {
        foreach (var (label, text) in BenchKid.Plan(options).Lines()) screen.Row(label, text);
        screen.Row("output", options.Output);
        return CommandLine.Done;
    }

    /// <summary>One part, in this process.</summary>
    public static int Part(Screen screen, BenchKidOptions options, string part, bool worker)
    {
        using var interrupt = new Interrupt(screen, "finishing this step, then saving");
        using var ended = new CancellationTokenSource();
        if (worker) EndWithInput(ended);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(interrupt.Token, ended.Token);
        BenchKid.RunPart(options, part, null, stop.Token);
        if (!worker) screen.Row("made", part);
        return CommandLine.Done;
    }

    public static int Run(Screen screen, BenchKidOptions options, BenchKidLine line, bool resume)
    {
        using var interrupt = new Interrupt(screen, "finishing the running steps, then saving");
        BenchKidResult result;
        try
        {
            result = BenchKid.Run(options, new Lines(screen), resume, (part, alone, stop) => InProcess(line, options, part, alone, stop), interrupt.Token);
        }
        catch (OperationCanceledException)
        {
            screen.EndLive();
            screen.Row("stopped", "what is made stays, and trainings are saved");
            if (Directory.Exists(options.Output)) screen.Command("go on", $"{line} --output {Words.Quoted(Words.Place(options.Output))} --resume");
            return CommandLine.Interrupted;
        }
        catch (BenchPartException problem)
        {
            screen.EndLive();
            screen.Error.WriteLine(problem.Message);
            return CommandLine.Failed;
        }
        screen.EndLive();
        screen.Line(string.Create(CultureInfo.InvariantCulture, $" done in {Words.Duration(result.Seconds)}\n"));
        screen.Line(result.Text.TrimEnd() + "\n");
        foreach (var (label, file) in new[] { ("report", result.Report), ("table", result.Table), ("plot", result.Plot), ("numbers", result.Results) }) screen.Row(label, Words.Place(file));
        return CommandLine.Done;
    }

    /// <summary>Makes a part by this program in another process, which gets its share of the cores, and stops when its input is closed: so it does when this process dies.</summary>
    private static void InProcess(BenchKidLine line, BenchKidOptions options, string part, bool alone, CancellationToken stop)
    {
        var (program, library) = Program();
        var start = new ProcessStartInfo(program) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        if (library is not null) start.ArgumentList.Add(library);
        foreach (var argument in (IEnumerable<string>)[.. line.Arguments(), "--output", options.Output, "--part", part, "--worker"]) start.ArgumentList.Add(argument);
        start.Environment["OMP_NUM_THREADS"] = (alone ? Environment.ProcessorCount : Math.Max(1, Environment.ProcessorCount / options.Workers)).ToString(CultureInfo.InvariantCulture);
        using var process = Process.Start(start)!;
        using var stopping = stop.Register(() => process.StandardInput.Close());
        var errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode == CommandLine.Done) return;
        stop.ThrowIfCancellationRequested();
        throw new BenchPartException($"{part} could not be made\n{errors.Result.Trim()}");
    }

    /// <summary>This program: itself, or its library and the host that runs it.</summary>
    private static (string Program, string? Library) Program()
    {
        var running = Environment.ProcessPath!;
        return Path.GetFileNameWithoutExtension(running) switch
        {
            "lora" => (running, null),
            "dotnet" => (running, typeof(BenchKidJob).Assembly.Location),
            _ => ("dotnet", typeof(BenchKidJob).Assembly.Location),   // a test's host
        };
    }

    /// <summary>Stops when the standard input ends.</summary>
    private static void EndWithInput(CancellationTokenSource ended)
    {
        var listener = new Thread(() =>
        {
            while (Console.In.Read() >= 0) { }
            ended.Cancel();
        });
        listener.IsBackground = true;
        listener.Start();
    }

    /// <summary>One live line on a terminal, a line for each part elsewhere.</summary>
    private sealed class Lines(Screen screen) : IProgress<BenchKidProgress>
    {
        public void Report(BenchKidProgress value)
        {
            var text = string.Create(CultureInfo.InvariantCulture, $"{value.Done}/{value.Parts}   {value.Part}   {Words.Duration(value.Seconds)}   about {Words.Duration(value.SecondsLeft)} left");
            if (screen.IsTerminal) screen.Live(" " + Words.Bar(value.Done, value.Parts, screen.LiveWidth - text.Length - 1) + text);
            else screen.Line(" " + text);
        }
    }
}

/// <summary>A process that made a part of an experiment failed; its own words are the message.</summary>
internal sealed class BenchPartException(string message) : Exception(message);
