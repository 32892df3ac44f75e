using System.CommandLine;
using System.Globalization;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Cli;

/// <summary><c>lora train</c>: a recipe and overrides to <see cref="TrainLoraOptions"/>, events to lines.</summary>
internal static class TrainCommand
{
    public static Command Create(Screen screen)
    {
        var recipe = new Argument<string>("RECIPE") { Description = "A recipe file (.toml); examples/tango/recipe.toml is one to start from." };
        var settings = new Option<string[]>("--set", "-s") { Description = "Override a key of the recipe: --set training.steps=500. May be repeated." };
        var output = new Option<string?>("--output", "-o") { Description = "Run folder, in place of the recipe's." };
        var resume = new Option<bool>("--resume") { Description = "Go on with the run in the output folder from its last saved state." };
        var dryRun = new Option<bool>("--dry-run") { Description = "Say what would be trained on what, how large, how much memory and how long; train nothing." };
        var command = new Command("train", "Train an adapter on your pictures, as a recipe says.") { recipe, settings, output, resume, dryRun };
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var path = arguments.GetValue(recipe)!;
            var options = TrainLoraOptions.Read(path, arguments.GetValue(settings) ?? [], arguments.GetValue(output));
            screen.Line($" lora train {path}\n");
            if (arguments.GetValue(dryRun))
            {
                Print(screen, TrainLora.Plan(options), options);
                return CommandLine.Done;
            }
            return Run(screen, path, options, arguments.GetValue(resume));
        });
        return command;
    }

    private static int Run(Screen screen, string recipe, TrainLoraOptions options, bool resume)
    {
        using var interrupt = new Interrupt(screen);
        var result = TrainLora.Run(options, new EventLines(screen, options), resume, interrupt.Token);
        if (!result.Finished)
        {
            screen.Row("stopped", $"after step {result.Steps}; adapter and state are saved");
            screen.Row("go on", $"lora train {recipe} --output {options.Output} --resume");
            return CommandLine.Interrupted;
        }
        screen.Line(string.Create(CultureInfo.InvariantCulture, $" done in {Words.Duration(result.Seconds)}\n"));
        screen.Row("adapter", $"{result.Adapter}   {Words.Size(new FileInfo(result.Adapter).Length)}, {options.Save.Format.ToString().ToLowerInvariant()} keys");
        if (result.BeforeAfter is { } sheet) screen.Row("look", $"{sheet}   same prompts and seeds without and with the adapter");
        screen.Row("loss", result.LossPlot);
        screen.Row("next", $"lora generate --model {options.Model} --adapter {result.Adapter} --prompt \"{result.ExamplePrompt ?? "…"}\" --output pictures");
        return CommandLine.Done;
    }

    internal static void Print(Screen screen, TrainingPlan plan, TrainLoraOptions options)
    {
        var training = options.Training;
        screen.Row("model", $"{plan.Model}: {plan.Family}");
        screen.Row("data", string.Join('\n', plan.Data.Lines()));
        screen.Row("adapter", string.Create(CultureInfo.InvariantCulture,
            $"lora, rank {options.Adapter.Rank}, alpha {options.Adapter.Alpha ?? options.Adapter.Rank}: {plan.Modules} modules ({string.Join(", ", options.Adapter.Targets)}), {plan.Parameters / 1e6:F2} M parameters, {Words.Size(plan.AdapterBytes)}"));
        screen.Row("steps", string.Create(CultureInfo.InvariantCulture,
            $"{plan.Steps} of {plan.PicturesPerStep} pictures = {plan.Epochs:F1} epochs; learning rate {training.LearningRate:G3} {RecipeWords(training.Schedule.ToString())}, warm-up {training.WarmupSteps}"));
        screen.Row("memory", $"about {Words.Size(plan.MemoryBytes)}");
        screen.Row("time", $"about {Words.Duration(plan.SecondsPerStep * plan.Steps)} ({plan.SecondsPerStep.ToString("G2", CultureInfo.InvariantCulture)} s a step, from one forward pass)");
        screen.Row("output", plan.Output);
        screen.Line();
    }

    private static string RecipeWords(string name) => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(name);

    /// <summary>Events to the screen: one live line on a terminal, a line now and then elsewhere.</summary>
    private sealed class EventLines(Screen screen, TrainLoraOptions options) : IProgress<TrainingEvent>
    {
        private const int PlainLines = 20;
        private double secondsPerStep;

        public void Report(TrainingEvent value)
        {
            switch (value)
            {
                case RunStarted started:
                    Print(screen, started.Plan, options);
                    if (started.FirstStep > 0) screen.Row("resumes", $"after step {started.FirstStep}");
                    break;
                case PictureEncoded picture: Encoded(picture); break;
                case StepFinished step: Step(step); break;
                case PreviewWritten preview: Plain($" preview at step {preview.Step}: {preview.Path}"); break;
                case RunSaved saved: Plain($" saved at step {saved.Step}: {saved.Path}"); break;
                case RunWarning warning:
                    screen.EndLive();
                    screen.Error.WriteLine(" warning: " + warning.Text);
                    break;
                case RunFinished or RunStopped: screen.EndLive(); break;
            }
        }

        private void Plain(string line)
        {
            screen.EndLive();
            screen.Line(line);
        }

        private void Encoded(PictureEncoded picture)
        {
            var text = $" encoding pictures {picture.Picture}/{picture.Pictures}";
            if (screen.IsTerminal) screen.Live(text);
            else if (picture.Picture == picture.Pictures || picture.Picture % 100 == 0) screen.Line(text);
        }

        private void Step(StepFinished step)
        {
            secondsPerStep = secondsPerStep == 0 ? step.Seconds : 0.9 * secondsPerStep + 0.1 * step.Seconds;
            var text = string.Create(CultureInfo.InvariantCulture,
                $"{step.Step}/{step.Steps}   loss {step.SmoothedLoss:F4}   lr {step.LearningRate:G3}   {secondsPerStep:G2} s/step   {Words.Duration(secondsPerStep * (step.Steps - step.Step))} left   {Words.Size(step.MemoryBytes)}");
            if (screen.IsTerminal) screen.Live(" " + Words.Bar(step.Step, step.Steps) + "  " + text);
            else if (step.Step == 1 || step.Step == step.Steps || step.Step % Math.Max(1, step.Steps / PlainLines) == 0) screen.Line(" step " + text);
        }
    }
}
