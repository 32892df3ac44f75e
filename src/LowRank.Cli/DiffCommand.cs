using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora diff</c>: how far apart two adapters are.</summary>
internal static class DiffCommand
{
    public static Command Create(Screen screen)
    {
        var first = new Argument<string>("A") { Description = "Adapter file (.safetensors, .pt, .bin), PEFT folder, or the name of an adapter that comes with the program." };
        var second = new Argument<string>("B") { Description = "Another, of any convention." };
        var model = new Option<string>("--model") { Description = "Their base model. Found by names and shapes where it is left out; needed for kinds whose change depends on the base's weights, such as DoRA.", HelpName = "MODEL" };
        var json = new Option<bool>("--json") { Description = "One JSON document, with every module and its singular values, instead of words." };
        var command = new Command("diff", "Say how far apart two adapters are in what they change: distance, lengths and cosine of ΔW, as a whole, by block and by module.") { first, second, model, json };
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var difference = DiffAdapters.Run(arguments.GetValue(first)!, arguments.GetValue(second)!, arguments.GetValue(model));
            if (arguments.GetValue(json)) screen.Line(difference.ToJson());
            else screen.Report(difference.ToString());
            return CommandLine.Done;
        });
        return command;
    }
}
