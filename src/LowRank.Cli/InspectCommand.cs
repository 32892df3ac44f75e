using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora inspect</c>: what adapter files hold.</summary>
internal static class InspectCommand
{
    public static Command Create(Screen screen)
    {
        var files = new Argument<string[]>("FILE") { Arity = ArgumentArity.OneOrMore, Description = "Adapter files (.safetensors, .pt, .bin), PEFT folders, or names of adapters that come with the program." };
        var json = new Option<bool>("--json") { Description = "One JSON document instead of words." };
        var full = new Option<bool>("--full") { Description = "Read files above 50 MB whole too: hash, norms by block, and what is wrong with their numbers; about a second for each 50 MB." };
        var plot = new Option<string>("--plot") { Description = "Draw the norms by block of one file as a PNG; reads it whole.", HelpName = "FILE.png" };
        var command = new Command("inspect", "Say what an adapter file holds: format, modules, ranks, base family, training, norms by block, who loads it, trouble.") { files, json, full, plot };
        command.SetAction(arguments =>
        {
            var picture = arguments.GetValue(plot);
            if (picture is not null && arguments.GetValue(files)!.Length > 1)
            {
                screen.Error.WriteLine("--plot draws the norms of one file; name one file");
                return CommandLine.WrongUsage;
            }
            var reports = arguments.GetValue(files)!.Select(file => InspectAdapter.Run(file, arguments.GetValue(full) || picture is not null)).ToArray();
            if (picture is not null) InspectAdapter.Plot(reports[0], picture);
            if (arguments.GetValue(json)) screen.Line(InspectAdapter.ToJson(reports));
            else
            {
                for (var i = 0; i < reports.Length; i++)
                {
                    if (i > 0) screen.Line();
                    screen.Report(reports[i].ToString());
                }
            }
            return CommandLine.Done;
        });
        return command;
    }
}
