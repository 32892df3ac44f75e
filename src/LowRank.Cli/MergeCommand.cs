using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora merge</c>: arguments to <see cref="MergeOptions"/>, and what changed.</summary>
internal static class MergeCommand
{
    private const int LabelWidth = 9;

    public static Command Create(Screen screen)
    {
        var files = new Argument<string[]>("MODEL ADAPTER[=S]... OUT") { Arity = new ArgumentArity(3, 1000), Description = "The model (folder, single file, or icons-64), adapters, each FILE or FILE=STRENGTH[,unet:X,text_encoder:X,blocks:X/X/…] (1 as trained, negative takes it away), and behind them the folder or .safetensors file to write, of the model's kind." };
        var dtype = new Option<SavePrecision?>("--dtype") { HelpName = "fp16|bf16|fp32", Description = "Type of all weights that are written. [default: as in the model]" };
        var config = new Option<string?>("--config") { HelpName = "FOLDER", Description = "Configurations (diffusers layout) of a model that is one file; unset: told by its shapes." };
        var variant = new Option<string?>("--variant") { HelpName = "NAME", Description = "Weights of a model folder: fp16 for model.fp16.safetensors; unset: full precision, else fp16." };
        var unmatched = new Option<bool>("--allow-unmatched") { Description = "Merge what fits of an adapter whose other keys find no module, instead of refusing it." };
        var json = new Option<bool>("--json") { Description = "One JSON document instead of words." };
        var command = new Command("merge", "Write adapters into a copy of a model's weights, which then needs no adapter. The model itself stays as it is; keep it: merging with the negative strength does not restore halves exactly.") { files, dtype, config, variant, unmatched, json };
        command.SetAction(arguments => Run(screen, arguments.GetValue(json), new MergeOptions
        {
            Model = arguments.GetValue(files)![0],
            Adapters = [.. arguments.GetValue(files)![1..^1].Select(AdapterUse.Parse)],
            Output = arguments.GetValue(files)![^1],
            Precision = arguments.GetValue(dtype),
            Config = arguments.GetValue(config),
            Variant = arguments.GetValue(variant),
            AllowUnmatched = arguments.GetValue(unmatched),
        }));
        return command;
    }

    private static int Run(Screen screen, bool json, MergeOptions options)
    {
        using var interrupt = new Interrupt(screen, "stopping; nothing is written");
        InspectMachine.RequireEngine();
        var report = MergeAdapters.Run(options, new Live(screen), interrupt.Token);
        screen.EndLive();
        if (json)
        {
            screen.Line(report.ToJson());
            return CommandLine.Done;
        }
        var lines = report.ToString().Split('\n');
        screen.Line(" " + lines[0]);
        foreach (var line in lines[1..])
        {
            var (word, text) = (line[..LabelWidth].TrimEnd(), line[(LabelWidth + 1)..]);
            if (word is "blocks" or "") screen.Line($" {word,-10}{text}");   // columns stay columns
            else screen.Row(word, text);
        }
        return CommandLine.Done;
    }

    /// <summary>One live line on a terminal.</summary>
    private sealed class Live(Screen screen) : IProgress<MergeProgress>
    {
        public void Report(MergeProgress value)
        {
            if (screen.IsTerminal) screen.Live($" tensor {value.Done}/{value.Tensors}");
        }
    }
}
