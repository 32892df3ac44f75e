using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora bench</c>: experiments that measure training against training.</summary>
internal static class BenchCommand
{
    public static Command Create(Screen screen) => new("bench", "Measure ways to train against each other, by experiments that anybody can repeat.") { Kid(screen) };

    private static Command Kid(Screen screen)
    {
        var recipe = new Argument<string>("RECIPE") { Description = "The experiment's recipe, such as examples/kid/recipe.toml." };
        var settings = new Option<string[]>("--set", "-s") { HelpName = "KEY=VALUE", Description = "Override a key of the recipe: --set training.steps=500. May be repeated." };
        var output = new Option<string?>("--output", "-o") { HelpName = "FOLDER", Description = "Folder of the experiment, in place of the recipe's." };
        var quick = new Option<bool>("--quick") { Description = "The quick form that the recipe describes: fewer arms, trainings and steps." };
        var resume = new Option<bool>("--resume") { Description = "Go on with the experiment in the output folder; what is made is not made again." };
        var dryRun = new Option<bool>("--dry-run") { Description = "Say what would be trained, drawn and measured, how much memory and how long; make nothing." };
        var only = new Option<string?>("--part") { HelpName = "NAME", Description = "Make one part of a begun experiment, such as judge/full/fold-0/seed-0: to spread it over machines." };
        var worker = new Option<bool>("--worker") { Hidden = true, Description = "For the command's own use: stop when the standard input ends." };
        var command = new Command("kid", "Full fine-tuning, LoRA and textual inversion on one set, compared by KID, held-out loss, forgetting, time and size.")
        {
            recipe, settings, output, quick, resume, dryRun, only, worker,
        };
        var hub = new HubArguments(command);
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var (path, changes) = (arguments.GetValue(recipe)!, arguments.GetValue(settings) ?? []);
            var options = BenchKidOptions.Read(path, changes, arguments.GetValue(output), arguments.GetValue(quick));
            if (hub.Settings(screen, arguments, options.Model, null, changes) is var named && named != changes) options = BenchKidOptions.Read(path, changes = [.. named], arguments.GetValue(output), arguments.GetValue(quick));
            var asked = new BenchKidLine(path, changes, arguments.GetValue(quick), options.Output);
            if (arguments.GetValue(only) is { } part) return BenchKidJob.Part(screen, options, part, arguments.GetValue(worker));
            screen.Line($" {asked}\n");
            return arguments.GetValue(dryRun) ? BenchKidJob.Plan(screen, options) : BenchKidJob.Run(screen, options, asked, arguments.GetValue(resume));
        });
        return command;
    }
}
