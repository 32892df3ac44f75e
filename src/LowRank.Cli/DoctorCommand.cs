using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora doctor</c>: arguments to <see cref="DoctorOptions"/>.</summary>
internal static class DoctorCommand
{
    /// <summary>Letters of the words in front of the report's lines.</summary>
    private const int LabelWidth = 9;

    public static Command Create(Screen screen)
    {
        var file = new Argument<string>("FILE") { Description = "An adapter of any convention." };
        var fix = new Option<string?>("--fix") { HelpName = "OUT", Arity = ArgumentArity.ZeroOrOne, Description = "Write a repaired file: OUT, or FILE itself, which is then kept as FILE.bak." };
        var drop = new Option<bool>("--drop-nan") { Description = "With --fix: leave out modules with numbers that are none." };
        var model = new Option<string?>("--model", "-m") { HelpName = "MODEL", Description = "The model that it is for: a folder, or icons-64. [default: found by names and shapes]" };
        var command = new Command("doctor", "Say what is wrong with an adapter file, and repair what can be repaired without guessing. Exits with 0 where nothing is wrong or all of it was repaired, with 1 where trouble is left.") { file, fix, drop, model };
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var report = DoctorAdapter.Run(new DoctorOptions
            {
                File = arguments.GetValue(file)!,
                Fix = arguments.GetResult(fix) is not null,
                Output = arguments.GetValue(fix),
                DropNotFinite = arguments.GetValue(drop),
                Model = arguments.GetValue(model),
            });
            var lines = report.ToString().Split('\n');
            screen.Line(" " + lines[0]);
            foreach (var line in lines[1..]) screen.Row(line[..LabelWidth].TrimEnd(), line[(LabelWidth + 1)..]);
            return report.IsHealthy ? CommandLine.Done : CommandLine.Failed;
        });
        return command;
    }
}
