using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora verify</c>: whether an adapter works on a model.</summary>
internal static class VerifyCommand
{
    public static Command Create(Screen screen)
    {
        var file = new Argument<string>("FILE") { Description = "Adapter file (.safetensors, .pt, .bin), PEFT folder, or the name of an adapter that comes with the program." };
        var model = new Option<string>("--model") { Description = "The base model: a folder in the diffusers layout, a checkpoint of one file (.safetensors, .ckpt), icons-64, or org/name, a model of the hub.", HelpName = "MODEL", Required = true };
        var files = new ModelFileArguments();
        var json = new Option<bool>("--json") { Description = "One JSON document instead of words." };
        var command = new Command("verify", "Prove that an adapter works on a model: every key lands, it changes the output, merged equals attached. Exits with 0 where all holds, 3 for a file that is damaged or cannot be used, 4 for one that was made for another model.") { file, model, json };
        files.AddTo(command);
        var hub = new HubArguments(command);
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var (found, read) = hub.Fetch(screen, arguments, arguments.GetValue(model), files.Of(arguments));
            var report = VerifyAdapter.Run(arguments.GetValue(file)!, found!, read);
            if (arguments.GetValue(json)) screen.Line(report.ToJson());
            else screen.Report(report.ToString());
            return report.Verdict switch { AdapterVerdict.Good => CommandLine.Done, AdapterVerdict.Mismatched => CommandLine.Mismatched, _ => CommandLine.BadInput };
        });
        return command;
    }
}
