using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora verify-model</c>: whether a model is whole.</summary>
internal static class VerifyModelCommand
{
    public static Command Create(Screen screen)
    {
        var model = new Argument<string>("MODEL") { Description = "A folder in the diffusers layout, a checkpoint of one file (.safetensors, .ckpt), icons-64, the embedded base, or org/name, a model of the hub." };
        var files = new ModelFileArguments();
        var command = new Command("verify-model", "Prove that a model is whole and will load elsewhere: parts, configurations, every weight and number, one step of drawing.") { model };
        files.AddTo(command);
        var hub = new HubArguments(command);
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var (found, read) = hub.Fetch(screen, arguments, arguments.GetValue(model), files.Of(arguments));
            var report = VerifyModel.Run(found!, read);
            screen.Report(report.ToString());
            return report.IsWhole ? CommandLine.Done : CommandLine.BadInput;
        });
        return command;
    }
}
