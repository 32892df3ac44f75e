using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora verify-model</c>: whether a model is whole.</summary>
internal static class VerifyModelCommand
{
    /// <summary>Letters of the words in front of the report's lines.</summary>
    private const int LabelWidth = 9;

    public static Command Create(Screen screen)
    {
        var model = new Argument<string>("MODEL") { Description = "A folder in the diffusers layout, a checkpoint of one file (.safetensors, .ckpt), or icons-64, the embedded base." };
        var files = new ModelFileArguments();
        var command = new Command("verify-model", "Prove that a model is whole and will load elsewhere: parts, configurations, every weight and number, one step of drawing.") { model };
        files.AddTo(command);
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var report = VerifyModel.Run(arguments.GetValue(model)!, files.Of(arguments));
            var lines = report.ToString().Split('\n');
            screen.Line(" " + lines[0]);
            foreach (var line in lines[1..]) screen.Row(line[..LabelWidth].TrimEnd(), line[(LabelWidth + 1)..]);
            return report.IsWhole ? CommandLine.Done : CommandLine.BadInput;
        });
        return command;
    }
}
