using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora verify-model</c>: whether a model's folder is whole.</summary>
internal static class VerifyModelCommand
{
    /// <summary>Letters of the words in front of the report's lines.</summary>
    private const int LabelWidth = 9;

    public static Command Create(Screen screen)
    {
        var folder = new Argument<string>("FOLDER") { Description = "A model in the diffusers layout, icons-64, the embedded base, or org/name, a model of the hub." };
        var command = new Command("verify-model", "Prove that a model's folder is whole and will load elsewhere: parts, configurations, every weight and number, one step of drawing.") { folder };
        var hub = new HubArguments(command);
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var report = VerifyModel.Run(hub.Fetch(screen, arguments, arguments.GetValue(folder))!);
            var lines = report.ToString().Split('\n');
            screen.Line(" " + lines[0]);
            foreach (var line in lines[1..]) screen.Row(line[..LabelWidth].TrimEnd(), line[(LabelWidth + 1)..]);
            return report.IsWhole ? CommandLine.Done : CommandLine.BadInput;
        });
        return command;
    }
}
