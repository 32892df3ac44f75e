using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora extract</c>: arguments to <see cref="ExtractOptions"/>, and how much of the difference the adapter holds.</summary>
internal static class ExtractCommand
{
    public static Command Create(Screen screen)
    {
        // one place for defaults: the record
        var defaults = new ExtractOptions { Base = "", Tuned = "", Output = "" };
        var original = new Argument<string>("BASE") { Description = "The model that the adapter will be used on." };
        var tuned = new Argument<string>("TUNED") { Description = "The model that shall come of it: what was trained from BASE." };
        var output = new Argument<string>("OUT") { Description = "The .safetensors file to write." };
        var rank = new Option<int?>("--rank", "-r") { HelpName = "R", Description = "Rank of every layer." };
        var energy = new Option<double?>("--energy", "-e") { HelpName = "E", Description = "Or the least rank that holds this share of a layer's squared difference, such as 0.9." };
        var threshold = new Option<double?>("--threshold", "-t") { HelpName = "T", Description = "Or the singular values above this number." };
        var ratio = new Option<double?>("--ratio") { HelpName = "X", Description = "Or those above this share of a layer's largest." };
        var quantile = new Option<double?>("--quantile") { HelpName = "X", Description = "Or those whose sum stays below this share of a layer's sum." };
        var convRank = new Option<int?>("--conv-rank") { HelpName = "C", Description = "Most for convolutions larger than 1×1; 0 leaves them out. [default: as the other layers]" };
        var clamp = new Option<double?>("--clamp") { HelpName = "Q", Description = "Cut the largest numbers of the factors off at this quantile; 0.99 as other tools do. [default: not]" };
        var minDiff = new Option<double>("--min-diff") { HelpName = "X", Description = "Leave out layers where no number differs by more.", DefaultValueFactory = _ => defaults.MinDiff };
        var method = new Option<SvdMethod?>("--method", "-m") { HelpName = "auto|exact|randomized", Description = "Decomposition: random projection saves most of the time on large layers. [default: auto]" };
        var seed = new Option<long>("--seed") { HelpName = "N", Description = "Seed of random projections.", DefaultValueFactory = _ => defaults.Seed };
        var dtype = new Option<SavePrecision?>("--dtype") { HelpName = "fp16|bf16|fp32", Description = "Type of the file's numbers. [default: fp16]" };
        var parts = new Option<string?>("--parts") { HelpName = "PART,...", Description = "Of unet, text_encoder, text_encoder_2. [default: all]" };
        var config = new Option<string?>("--config") { HelpName = "FOLDER", Description = "Configurations (diffusers layout) of models that are one file. [default: the other model's, else told by shapes]" };
        var json = new Option<bool>("--json") { Description = "One JSON document instead of words." };
        var command = new Command("extract", "Make an adapter of the difference between a model and what was trained from it.")
        {
            original, tuned, output, rank, energy, threshold, ratio, quantile, convRank, clamp, minDiff, method, seed, dtype, parts, config, json,
        };
        command.SetAction(arguments => Run(screen, arguments.GetValue(json), new ExtractOptions
        {
            Base = arguments.GetValue(original)!,
            Tuned = arguments.GetValue(tuned)!,
            Output = arguments.GetValue(output)!,
            Rank = arguments.GetValue(rank),
            Energy = arguments.GetValue(energy),
            Threshold = arguments.GetValue(threshold),
            Ratio = arguments.GetValue(ratio),
            Quantile = arguments.GetValue(quantile),
            ConvRank = arguments.GetValue(convRank),
            Clamp = arguments.GetValue(clamp),
            MinDiff = arguments.GetValue(minDiff),
            Method = arguments.GetValue(method) ?? defaults.Method,
            Seed = arguments.GetValue(seed),
            Precision = arguments.GetValue(dtype) ?? defaults.Precision,
            Parts = arguments.GetValue(parts)?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [],
            Config = arguments.GetValue(config),
        }));
        return command;
    }

    private static int Run(Screen screen, bool json, ExtractOptions options)
    {
        using var interrupt = new Interrupt(screen, "stopping; nothing is written");
        InspectMachine.RequireEngine();
        WrittenScreen.Print(screen, ExtractAdapter.Run(options, new WrittenScreen.Live(screen), interrupt.Token), json);
        return CommandLine.Done;
    }
}
