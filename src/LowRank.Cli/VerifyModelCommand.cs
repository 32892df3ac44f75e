using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora verify-model</c>: whether a model is whole.</summary>
internal static class VerifyModelCommand
{
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
            screen.Report(report.ToString());
            return report.IsWhole ? CommandLine.Done : CommandLine.BadInput;
        });
        return command;
    }
}
