using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora resize</c>: arguments to <see cref="ResizeOptions"/>, and what every layer lost.</summary>
internal static class ResizeCommand
{
    public static Command Create(Screen screen)
    {
        var input = new Argument<string>("IN") { Description = "A LoRA: file, PEFT folder, or name of one that comes with the program." };
        var output = new Argument<string>("OUT") { Description = "The .safetensors file to write." };
        var rank = new Option<int?>("--rank", "-r") { HelpName = "R", Description = "Rank of every layer; the largest rank where one of the rules below is given." };
        var convRank = new Option<int?>("--conv-rank") { HelpName = "C", Description = "The same for convolutions. [default: --rank]" };
        var ratio = new Option<double?>("--sv-ratio") { HelpName = "X", Description = "Keep singular values above the layer's largest divided by this." };
        var fro = new Option<double?>("--sv-fro") { HelpName = "X", Description = "Keep as many as hold this share of ‖ΔW‖, such as 0.9." };
        var cumulative = new Option<double?>("--sv-cumulative") { HelpName = "X", Description = "Keep as many as hold this share of the sum of singular values." };
        var dtype = new Option<SavePrecision?>("--dtype") { HelpName = "fp16|bf16|fp32", Description = "Type of the file's numbers. [default: the input's]" };
        var model = new Option<string?>("--model") { HelpName = "MODEL", Description = "The base it is for; needed where it is no published one." };
        var json = new Option<bool>("--json") { Description = "One JSON document instead of words." };
        var command = new Command("resize", "Give a LoRA fewer ranks, and say what every layer lost.") { input, output, rank, convRank, ratio, fro, cumulative, dtype, model, json };
        command.SetAction(arguments => Run(screen, arguments.GetValue(json), new ResizeOptions
        {
            Input = arguments.GetValue(input)!,
            Output = arguments.GetValue(output)!,
            Rank = arguments.GetValue(rank),
            ConvRank = arguments.GetValue(convRank),
            SvRatio = arguments.GetValue(ratio),
            SvFro = arguments.GetValue(fro),
            SvCumulative = arguments.GetValue(cumulative),
            Precision = arguments.GetValue(dtype),
            Model = arguments.GetValue(model),
        }));
        return command;
    }

    private static int Run(Screen screen, bool json, ResizeOptions options)
    {
        InspectMachine.RequireEngine();
        WrittenScreen.Print(screen, ResizeAdapter.Run(options), json);
        return CommandLine.Done;
    }
}
