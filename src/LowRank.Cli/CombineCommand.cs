using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora combine</c>: arguments to <see cref="CombineOptions"/>, and how near the result comes.</summary>
internal static class CombineCommand
{
    public static Command Create(Screen screen)
    {
        // one place for defaults: the record
        var defaults = new CombineOptions { Inputs = [], Output = "" };
        var files = new Argument<string[]>("A[=W] B[=W]... OUT") { Arity = new ArgumentArity(2, 1000), Description = "Adapters, each FILE or FILE=WEIGHT (1 as it is, 0 not at all, negative takes it away), and behind them the .safetensors file to write." };
        var method = new Option<CombineMethod?>("--method", "-m") { HelpName = "concat|svd|linear|ties|dare|magnitude", Description = "How: the exact sum with all ranks, the nearest sum of a rank, the exact sum in as few ranks as hold it, or merging number by number. [default: concat]" };
        var rank = new Option<int?>("--rank", "-r") { HelpName = "R", Description = "Largest rank of a layer, for all methods but concat." };
        var error = new Option<double?>("--error", "-e") { HelpName = "E", Description = "Or the largest share of a layer's change that may be lost, such as 0.05." };
        var density = new Option<double?>("--density") { HelpName = "D", Description = "ties, dare, magnitude: share of the numbers that is kept. [default: 0.5]" };
        var sign = new Option<SignRule?>("--sign") { HelpName = "total|frequency", Description = "ties, dare: how a sign is elected. [default: total for ties, none for dare]" };
        var factors = new Option<bool>("--factors") { Description = "Merge the factors, not what they change: what PEFT's methods of these names do. Not the sum of the changes." };
        var seed = new Option<long>("--seed") { HelpName = "N", Description = "Seed of dare.", DefaultValueFactory = _ => defaults.Seed };
        var dtype = new Option<SavePrecision?>("--dtype") { HelpName = "fp16|bf16|fp32", Description = "Type of the file's numbers. [default: the widest of the inputs']" };
        var model = new Option<string?>("--model") { HelpName = "MODEL", Description = "The base they are for; needed where it is no published one, and for DoRA." };
        var json = new Option<bool>("--json") { Description = "One JSON document instead of words." };
        var command = new Command("combine", "Make one adapter of several, of any formats, ranks and layers: exactly, or as near as a rank allows.")
        {
            files, method, rank, error, density, sign, factors, seed, dtype, model, json,
        };
        command.SetAction(arguments => Run(screen, arguments.GetValue(json), new CombineOptions
        {
            Inputs = [.. arguments.GetValue(files)![..^1].Select(AdapterUse.Parse)],
            Output = arguments.GetValue(files)![^1],
            Method = arguments.GetValue(method) ?? defaults.Method,
            Rank = arguments.GetValue(rank),
            Error = arguments.GetValue(error),
            Density = arguments.GetValue(density),
            Sign = arguments.GetValue(sign),
            Factors = arguments.GetValue(factors),
            Seed = arguments.GetValue(seed),
            Precision = arguments.GetValue(dtype),
            Model = arguments.GetValue(model),
        }));
        return command;
    }

    private static int Run(Screen screen, bool json, CombineOptions options)
    {
        using var interrupt = new Interrupt(screen, "stopping; nothing is written");
        InspectMachine.RequireEngine();
        WrittenScreen.Print(screen, CombineAdapters.Run(options, new WrittenScreen.Live(screen), interrupt.Token), json);
        return CommandLine.Done;
    }
}
