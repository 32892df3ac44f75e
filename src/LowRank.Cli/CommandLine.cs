using System.CommandLine;
using LowRank.Foundation;

namespace LowRank.Cli;

/// <summary>The <c>lora</c> program: commands, and what their failures mean to a shell.</summary>
internal static class CommandLine
{
    public const int Done = 0, Failed = 1, WrongUsage = 2, BadInput = 3, Mismatched = 4, Interrupted = 130;

    public static int Run(IReadOnlyList<string> arguments, Screen screen)
    {
        var verbose = new Option<bool>("--verbose") { Description = "Show where an error came from (stack trace).", Recursive = true };
        var root = new RootCommand("LowRank: fine-tunes image-generation models: small adapters (LoRA), new words, or whole models.\nStart with: lora recipes, then lora train RECIPE --dry-run; each command's own help says what it takes.")
        {
            PrepareCommand.Create(screen),
            RecipesCommand.Create(screen),
            TrainCommand.Create(screen),
            GenerateCommand.Create(screen),
            EvaluateCommand.Create(screen),
            InspectCommand.Create(screen),
            MergeCommand.Create(screen),
            DiffCommand.Create(screen),
            CombineCommand.Create(screen),
            ExtractCommand.Create(screen),
            ResizeCommand.Create(screen),
            ConvertCommand.Create(screen),
            DoctorCommand.Create(screen),
            VerifyCommand.Create(screen),
            VerifyModelCommand.Create(screen),
            ConvertModelCommand.Create(screen),
            ModelsCommand.Create(screen),
            BenchCommand.Create(screen),
            EnvCommand.Create(screen),
            verbose,
        };
        var parsed = root.Parse(arguments);
        var settings = new InvocationConfiguration
        {
            Output = screen.Out,
            Error = screen.Error,
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = null,   // Ctrl-C is ours: a run finishes its step and saves
        };
        if (arguments.Count == 0)
        {
            root.Parse(["--help"]).Invoke(settings);
            return WrongUsage;
        }
        if (Misuse.Is(parsed))
        {
            screen.Error.WriteLine(Misuse.Explain(parsed));
            return WrongUsage;
        }
        try
        {
            return parsed.Invoke(settings);
        }
        catch (Exception problem) when (!System.Diagnostics.Debugger.IsAttached)
        {
            screen.EndLive();
            return Explain(problem, screen, parsed.GetValue(verbose));
        }
    }

    private static int Explain(Exception problem, Screen screen, bool verbose)
    {
        if (problem is OperationCanceledException)
        {
            screen.Error.WriteLine(" stopped");
            return Interrupted;
        }
        screen.Error.WriteLine(problem is LowRankException ? problem.Message : $"{problem.GetType().Name}: {FirstLine(problem.Message)}");
        if (verbose) screen.Error.WriteLine(problem);
        else if (problem is not LowRankException) screen.Error.WriteLine("this is not an error we foresaw; run again with --verbose to see where it came from");
        return problem switch
        {
            OptionsException => WrongUsage,
            CheckpointException or DatasetException => BadInput,
            _ => Failed,
        };
    }

    /// <summary>The engine appends its native stack to its messages.</summary>
    private static string FirstLine(string message) => message.Split('\n')[0].TrimEnd();
}
