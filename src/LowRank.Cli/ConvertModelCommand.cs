using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora convert-model</c>: arguments to <see cref="ConvertModelOptions"/>.</summary>
internal static class ConvertModelCommand
{
    public static Command Create(Screen screen)
    {
        var input = new Argument<string>("IN") { Description = "A folder in the diffusers layout, a checkpoint of one file (.safetensors, .ckpt), icons-64, or org/name, a model of the hub." };
        var output = new Argument<string>("OUT") { Description = "What to write: a folder that is empty or not there, or a .safetensors file." };
        var to = new Option<string?>("--to") { HelpName = "diffusers|single", Description = "A folder in the diffusers layout, or one file in the original layout. [default: the other of the two]" };
        to.AcceptOnlyFromAmong("diffusers", "single");
        var precision = new Option<SavePrecision?>("--dtype") { HelpName = "fp16|bf16|fp32", Description = "Type of the numbers. [default: every tensor keeps its own]" };
        var files = new ModelFileArguments();
        var command = new Command("convert-model", "Write a model as a folder or as one file, tensor by tensor.") { input, output, to, precision };
        files.AddTo(command);
        var hub = new HubArguments(command);
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var (model, read) = (arguments.GetValue(input)!, files.Of(arguments));
            if (!File.Exists(model) || arguments.GetValue(to) != "single")   // a file that stays one needs no tokenizer
            {
                (var found, read) = hub.Fetch(screen, arguments, model, read);
                model = found!;
            }
            using var interrupt = new Interrupt(screen, "stopping; nothing is left behind");
            var report = ConvertModel.Run(new ConvertModelOptions
            {
                Input = model,
                Output = arguments.GetValue(output)!,
                To = arguments.GetValue(to) switch { "diffusers" => ModelForm.Diffusers, "single" => ModelForm.SingleFile, _ => null },
                Precision = arguments.GetValue(precision),
                ModelFile = read,
            }, new ProgressLine(screen), interrupt.Token);
            screen.EndLive();
            screen.Report(report.ToString());
            return CommandLine.Done;
        });
        return command;
    }

    private sealed class ProgressLine(Screen screen) : IProgress<ConvertModelProgress>
    {
        public void Report(ConvertModelProgress value)
        {
            if (screen.IsTerminal) screen.Live($" tensor {value.Done}/{value.All}");
        }
    }
}
