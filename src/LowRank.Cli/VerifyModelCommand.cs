using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora verify-model</c>: whether a model's folder is whole.</summary>
internal static class VerifyModelCommand
{
    public static Command Create(Screen screen)
    {
        var folder = new Argument<string>("FOLDER") { Description = "A model in the diffusers layout, icons-64, the embedded base, or org/name, a model of the hub." };
        var command = new Command("verify-model", "Prove that a model's folder is whole and will load elsewhere: parts, configurations, every weight and number, one step of drawing.") { folder };
        var hub = new HubArguments(command);
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var report = VerifyModel.Run(hub.Fetch(screen, arguments, arguments.GetValue(folder))!);
            screen.Report(report.ToString());
            return report.IsWhole ? CommandLine.Done : CommandLine.BadInput;
        });
        return command;
    }
}
