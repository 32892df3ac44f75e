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
        var command = new Command("inspect", "Say what an adapter file holds: format, modules, ranks, base family, norms, metadata, trouble.") { files, json };
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var reports = arguments.GetValue(files)!.Select(InspectAdapter.Run).ToArray();
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
