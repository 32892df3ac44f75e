using System.CommandLine;
using LowRank.Adapters;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora convert</c>: arguments to <see cref="ConvertOptions"/>.</summary>
internal static class ConvertCommand
{
    /// <summary>Letters of the words in front of the report's lines.</summary>
    private const int LabelWidth = 9;

    private static readonly Dictionary<string, WrittenConvention> Conventions = new()
    {
        ["kohya"] = WrittenConvention.Kohya,
        ["peft"] = WrittenConvention.Peft,
        ["diffusers"] = WrittenConvention.Diffusers,
        ["diffusers-old"] = WrittenConvention.DiffusersOld,
        ["attn-procs"] = WrittenConvention.AttnProcs,
        ["lycoris"] = WrittenConvention.Lycoris,
        ["legacy"] = WrittenConvention.Legacy,
    };

    public static Command Create(Screen screen)
    {
        var input = new Argument<string>("IN") { Description = "An adapter of any convention (.safetensors, .pt, .bin, or a PEFT folder)." };
        var output = new Argument<string>("OUT") { Description = "What to write: a .safetensors file; a folder for peft; a .pt for the lists of legacy." };
        var to = new Option<WrittenConvention>("--to")
        {
            HelpName = string.Join('|', Conventions.Keys),
            Required = true,
            Description = "Convention: kohya (A1111, ComfyUI, sd-scripts), peft (a folder), diffusers (its file of today), diffusers-old (of 2023), attn-procs (of early 2023), lycoris, legacy (the package of 2022).",
            CustomParser = result =>
            {
                if (Conventions.TryGetValue(result.Tokens[0].Value, out var convention)) return convention;
                result.AddError("unknown");
                return default;
            },
        };
        var precision = new Option<SavePrecision?>("--dtype") { HelpName = "fp16|bf16|fp32", Description = "Type of the numbers. [default: every tensor keeps its own]" };
        var model = new Option<string?>("--model", "-m") { HelpName = "MODEL", Description = "The model that it is for: a folder, or icons-64. [default: found by names and shapes]" };
        var strip = new Option<bool>("--strip-captions") { Description = "Leave out of the metadata what tells of the training pictures: captions, folders, remarks, the recipe." };
        var command = new Command("convert", "Write an adapter in another convention, with the same change of every weight; say what is not as it was.") { input, output, to, precision, model, strip };
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var report = ConvertAdapter.Run(new ConvertOptions
            {
                Input = arguments.GetValue(input)!,
                Output = arguments.GetValue(output)!,
                To = arguments.GetValue(to),
                Precision = arguments.GetValue(precision),
                Model = arguments.GetValue(model),
                StripCaptions = arguments.GetValue(strip),
            });
            var lines = report.ToString().Split('\n');
            screen.Line(" " + lines[0]);
            foreach (var line in lines[1..]) screen.Row(line[..LabelWidth].TrimEnd(), line[(LabelWidth + 1)..]);
            return CommandLine.Done;
        });
        return command;
    }
}
