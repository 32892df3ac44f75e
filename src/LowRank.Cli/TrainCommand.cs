using System.CommandLine;
using System.Globalization;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Cli;

/// <summary><c>lora train</c>: a recipe and overrides to a <see cref="TrainingJob"/>, events to lines.</summary>
internal static class TrainCommand
{
    public static Command Create(Screen screen)
    {
        var recipe = new Argument<string>("RECIPE") { Description = "A recipe file (.toml); lora recipes has some to start from." };
        var settings = new Option<string[]>("--set", "-s") { HelpName = "KEY=VALUE", Description = "Override a key of the recipe: --set training.steps=500. May be repeated." };
        var output = new Option<string?>("--output", "-o") { HelpName = "FOLDER", Description = "Run folder, in place of the recipe's." };
        var resume = new Option<bool>("--resume") { Description = "Go on with the run in the output folder from its last saved state." };
        var dryRun = new Option<bool>("--dry-run") { Description = "Say what would be trained on what, how large, how much memory and how long; train nothing." };
        var command = new Command("train", "Train an adapter, a new word or a whole model on your pictures, as a recipe says.") { recipe, settings, output, resume, dryRun };
        var hub = new HubArguments(command);
        command.SetAction(arguments =>
        {
            InspectMachine.RequireEngine();
            var path = arguments.GetValue(recipe)!;
            var changes = arguments.GetValue(settings) ?? [];
            var job = TrainingJob.Read(path, changes, arguments.GetValue(output));
            if (hub.Settings(screen, arguments, job.Model, job.ModelFile, changes) is var named && named != changes) job = TrainingJob.Read(path, named, arguments.GetValue(output));
            var line = string.Join(' ', ["lora train", Words.Quoted(path), .. changes.Select(change => "--set " + Words.Quoted(change))]);
            screen.Line($" {line}\n");
            if (arguments.GetValue(dryRun))
            {
                Print(screen, job.Plan(), job);
                return CommandLine.Done;
            }
            return Run(screen, line, job, arguments.GetValue(resume));
        });
        return command;
    }

    private static int Run(Screen screen, string line, TrainingJob job, bool resume)
    {
        using var interrupt = new Interrupt(screen, "finishing this step, then saving");
        var events = new EventLines(screen, job);
        TrainingResult result;
        try
        {
            result = job.Run(events, resume, interrupt.Token);
        }
        catch (OperationCanceledException)   // stopped before the first step: while pictures were read, encoded or drawn
        {
            screen.EndLive();
            return Stopped(screen, line, job.Output, events.SavedStep, job.Saved, events.Prior);
        }
        if (!result.Finished) return Stopped(screen, line, job.Output, result.Steps, job.Saved);
        screen.Line(string.Create(CultureInfo.InvariantCulture, $" done in {Words.Duration(result.Seconds)}\n"));
        var adapter = Words.Place(result.Adapter);
        screen.Row(job.ResultWord, $"{adapter}   {Words.Size(SizeOf(result.Adapter))}, {job.Readers}");
        foreach (var file in result.Embeddings) screen.Row("token", $"{Words.Place(file)}   {Words.Size(new FileInfo(file).Length)}");
        if (result.BeforeAfter is { } sheet) screen.Row("look", $"{Words.Place(sheet)}   {(job.Draws ? "same prompts and seeds" : "the same pictures")} before and after");
        screen.Row("report", Words.Place(result.Report));
        var use = job.GenerateOption is { } option ? $"{Words.Quoted(job.Model)} --{option} {Words.Quoted(adapter)}" : Words.Quoted(adapter);
        var given = job.Inpaints ? " --image PICTURE.png --mask MASK.png --noise-strength 1" : "";
        if (job.Draws) screen.Command("next", $"lora generate --model {use} --prompt {Words.Quoted(result.ExamplePrompt ?? "…")}{given} --output pictures");
        return CommandLine.Done;
    }

    /// <summary>Of a file, or of all files of a folder.</summary>
    private static long SizeOf(string path) => Directory.Exists(path) ? Directory.GetFiles(path, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length) : new FileInfo(path).Length;

    internal static int Stopped(Screen screen, string line, string output, long? savedStep, string saved = TrainingJob.AdapterSaved, PriorDrawn? prior = null)
    {
        if (savedStep is null)
        {
            screen.Row("stopped", prior is null ? "before the first step; nothing was made"
                : $"before the first step; {prior.Picture} of {prior.Pictures} prior pictures are kept in {Words.Place(prior.Folder)}, and the same command goes on with them");
            return CommandLine.Interrupted;
        }
        screen.Row("stopped", $"{saved} saved as of step {savedStep}");
        screen.Command("go on", $"{line} --output {Words.Quoted(Words.Place(output))} --resume");
        return CommandLine.Interrupted;
    }

    internal static void Print(Screen screen, TrainingPlan plan, TrainingJob job)
    {
        screen.Row("model", string.Create(CultureInfo.InvariantCulture, $"{plan.Model}: {plan.Family}; {job.Network} {plan.ModelParameters / 1e6:F1} M"));
        foreach (var warning in plan.ModelWarnings) screen.Row("assumed", warning);
        screen.Row("data", string.Join('\n', plan.Data.Lines()));
        if (plan.PriorsToDraw > 0) screen.Row("prior", $"{plan.PriorsToDraw} pictures are drawn first, about {Words.Duration(plan.SecondsToDraw)}");
        foreach (var (word, text) in job.Trained(plan)) screen.Row(word, text);
        screen.Row("steps", string.Create(CultureInfo.InvariantCulture,
            $"{plan.Steps} of {plan.PicturesPerStep} pictures = {plan.Epochs:F1} epochs; {job.Rates}"));
        screen.Row("memory", $"about {Words.Size(plan.MemoryBytes)}");
        screen.Row("time", $"about {Words.Duration(plan.SecondsPerStep * plan.Steps)} ({plan.SecondsPerStep.ToString("G2", CultureInfo.InvariantCulture)} s a step, from one forward pass)");
        screen.Row("output", plan.Output);
        screen.Line();
    }

    /// <summary>Events to the screen: one live line on a terminal, a line now and then elsewhere.</summary>
    private sealed class EventLines(Screen screen, TrainingJob job) : IProgress<TrainingEvent>
    {
        private const int PlainLines = 20;
        private double secondsPerStep;
        private double? heldOutBefore;

        /// <summary>Where a resume would go on; null before the first save.</summary>
        public long? SavedStep { get; private set; }

        /// <summary>The last prior picture that was drawn; null where none was.</summary>
        public PriorDrawn? Prior { get; private set; }

        public void Report(TrainingEvent value)
        {
            switch (value)
            {
                case RunStarted started:
                    screen.EndLive();
                    Print(screen, started.Plan, job);
                    if (started.FirstStep == 0) break;
                    SavedStep = started.FirstStep;
                    screen.Row("resumes", $"after step {started.FirstStep}");
                    break;
                case PriorDrawn prior:
                    Prior = prior;
                    Counted("drawing prior pictures", prior.Picture, prior.Pictures, every: 10);
                    break;
                case PictureEncoded picture: Counted("encoding pictures", picture.Picture, picture.Pictures, every: 100); break;
                case StepFinished step: Step(step); break;
                case HeldOutMeasured measured:
                    if (measured.Step == 0) heldOutBefore = measured.Loss;
                    Plain(Words.HeldOut(measured, heldOutBefore));
                    break;
                case ReconstructionMeasured reconstructed:
                    Plain(string.Create(CultureInfo.InvariantCulture, $" at step {reconstructed.Step}: pictures come back with {reconstructed.Psnr:F1} dB (PSNR, mean of {reconstructed.Pictures})"));
                    break;
                case PreviewWritten preview: Plain($" preview at step {preview.Step}: {Words.Place(preview.Path)}"); break;
                case RunSaved saved:
                    SavedStep = saved.Step;
                    Plain($" saved at step {saved.Step}: {Words.Place(saved.Path)}");
                    break;
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

        private void Counted(string what, int done, int all, int every)
        {
            var text = $" {what} {done}/{all}";
            if (screen.IsTerminal) screen.Live(text);
            else if (done == all || done % every == 0) screen.Line(text);
        }

        private void Step(StepFinished step)
        {
            secondsPerStep = secondsPerStep == 0 ? step.Seconds : 0.9 * secondsPerStep + 0.1 * step.Seconds;
            var text = string.Create(CultureInfo.InvariantCulture,
                $"{step.Step}/{step.Steps}   loss {step.SmoothedLoss:F4}   lr {step.LearningRate:G3}   {secondsPerStep:G2} s/step   {Words.Duration(secondsPerStep * (step.Steps - step.Step))} left   {Words.Size(step.MemoryBytes)}");
            if (screen.IsTerminal) screen.Live(" " + Words.Bar(step.Step, step.Steps, screen.LiveWidth - text.Length - 1) + text);
            else if (step.Step == 1 || step.Step == step.Steps || step.Step % Math.Max(1, step.Steps / PlainLines) == 0) screen.Line(" step " + text);
        }
    }
}
