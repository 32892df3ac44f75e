using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora evaluate</c>: arguments to <see cref="EvaluateOptions"/>, and the table.</summary>
internal static class EvaluateCommand
{
    public static Command Create(Screen screen)
    {
        var defaults = new EvaluateOptions { Real = "", Output = "" };   // one place for defaults: the record
        var real = new Option<string>("--real", "-r") { HelpName = "FOLDER", Required = true, Description = "Real pictures, those that the generated ones should be like; better not those that were trained on." };
        var generated = new Option<string?>("--generated", "-g") { HelpName = "FOLDER", Description = "Generated pictures, with captions beside them for the CLIP score. Or --model and --prompts." };
        var output = new Option<string>("--output", "-o") { HelpName = "FOLDER", Required = true, Description = "Folder for evaluation.json, the page, the sheet and drawn pictures; made when absent." };
        var model = new Option<string?>("--model", "-m") { HelpName = "MODEL", Description = "Draws the pictures in place of --generated: icons-64 (embedded), a folder in the diffusers layout, a checkpoint of one file (.safetensors, .ckpt), or org/name, a model of the hub." };
        var files = new ModelFileArguments();
        var adapters = new Option<string[]>("--adapter", "-a") { HelpName = "FILE[=STRENGTH]", Description = "Adapter of --model, FILE or FILE=STRENGTH, or the name of one that comes with the program; may be repeated." };
        var embeddings = new Option<string[]>("--embedding", "-e") { HelpName = "FILE[=TOKEN]", Description = "Embedding file that prompts may name, FILE or FILE=TOKEN; may be repeated." };
        var prompts = new Option<string?>("--prompts", "-p") { HelpName = "FILE", Description = "What --model draws: a text file with a prompt in each line." };
        var count = new Option<int>("--count", "-n") { HelpName = "N", Description = "Pictures of each prompt.", DefaultValueFactory = _ => defaults.Count };
        var negative = new Option<string?>("--negative-prompt") { HelpName = "TEXT", Description = "What drawn pictures should not show." };
        var sampler = new Option<string>("--sampler") { HelpName = "NAME", Description = "Sampler of --model, as for lora generate.", DefaultValueFactory = _ => defaults.Sampler };
        var steps = new Option<int>("--steps") { HelpName = "N", Description = "Sampler steps.", DefaultValueFactory = _ => defaults.Steps };
        var guidance = new Option<double>("--guidance") { HelpName = "X", Description = "How strongly prompts rule; 1 is off and halves the time of drawing.", DefaultValueFactory = _ => defaults.Guidance };
        var precision = new Option<Training.Precision?>("--precision") { HelpName = "fp32|bf16", Description = $"Arithmetic of --model. [default: {defaults.Precision.ToString().ToLowerInvariant()}]" };
        var seed = new Option<long>("--seed") { HelpName = "N", Description = "Seed of KID's subsets and of the first drawn picture; the next ones count up.", DefaultValueFactory = _ => defaults.Seed };
        var features = new Option<string>("--features", "-f") { HelpName = "NAME|PATH", Description = "What turns pictures into features: icons (embedded), the weights file of InceptionV3, or the folder of a CLIP model.", DefaultValueFactory = _ => defaults.Features };
        var resize = new Option<string>("--resize") { HelpName = "NAME", Description = "Whose way of bringing pictures to InceptionV3's size: pytorch-fid, torch-fidelity or clean-fid. Numbers of different ways do not compare.", DefaultValueFactory = _ => defaults.Resize };
        var clip = new Option<string?>("--clip") { HelpName = "FOLDER", Description = "A CLIP model, for CMMD and CLIP score." };
        var training = new Option<string?>("--training", "-t") { HelpName = "FOLDER", Description = "Pictures that were trained on, which generated ones should not repeat. [default: --real]" };
        var subsets = new Option<int>("--subsets") { HelpName = "N", Description = "Subsets of KID.", DefaultValueFactory = _ => defaults.Subsets };
        var subsetSize = new Option<int>("--subset-size") { HelpName = "N", Description = "Pictures of each set in a subset of KID; at most as many as there are.", DefaultValueFactory = _ => defaults.SubsetSize };
        var neighbours = new Option<int>("--neighbours", "-k") { HelpName = "N", Description = "Neighbours of precision, recall, density and coverage.", DefaultValueFactory = _ => defaults.Neighbours };
        var compare = new Option<string?>("--compare", "-c") { HelpName = "FILE", Description = "The evaluation.json of an earlier evaluation, to stand beside this one." };
        var command = new Command("evaluate", "Measure generated pictures against real ones: KID, FID, precision, recall, diversity, repeats of training pictures.")
        {
            real, generated, output, model, adapters, embeddings, prompts, count, negative, sampler, steps, guidance, precision, seed, features, resize, clip, training, subsets, subsetSize, neighbours, compare,
        };
        files.AddTo(command);
        var hub = new HubArguments(command);
        command.SetAction(arguments => Run(screen, hub, arguments, new EvaluateOptions
        {
            Real = arguments.GetValue(real)!,
            Generated = arguments.GetValue(generated),
            Output = arguments.GetValue(output)!,
            Model = arguments.GetValue(model),
            ModelFile = files.Of(arguments),
            Adapters = [.. (arguments.GetValue(adapters) ?? []).Select(AdapterUse.Parse)],
            Embeddings = [.. (arguments.GetValue(embeddings) ?? []).Select(EmbeddingUse.Parse)],
            Prompts = arguments.GetValue(prompts),
            Count = arguments.GetValue(count),
            NegativePrompt = arguments.GetValue(negative),
            Sampler = arguments.GetValue(sampler)!,
            Steps = arguments.GetValue(steps),
            Guidance = arguments.GetValue(guidance),
            Precision = arguments.GetValue(precision) ?? defaults.Precision,
            Seed = arguments.GetValue(seed),
            Features = arguments.GetValue(features)!,
            Resize = arguments.GetValue(resize)!,
            Clip = arguments.GetValue(clip),
            Training = arguments.GetValue(training),
            Subsets = arguments.GetValue(subsets),
            SubsetSize = arguments.GetValue(subsetSize),
            Neighbours = arguments.GetValue(neighbours),
            Compare = arguments.GetValue(compare),
        }));
        return command;
    }

    private static int Run(Screen screen, HubArguments hub, ParseResult arguments, EvaluateOptions options)
    {
        if (options.Validate().Count == 0)   // no download for nothing
        {
            var (model, files) = hub.Fetch(screen, arguments, options.Model, options.ModelFile);
            options = options with { Model = model, ModelFile = files };
        }
        using var interrupt = new Interrupt(screen, "stopping; pictures already drawn stay, and the same command goes on with the others");
        InspectMachine.RequireEngine();
        var lines = new ProgressLine(screen);
        var result = Evaluate.Run(options, lines, interrupt.Token);
        screen.EndLive();
        var (name, value, earlier) = (Width(measure => measure.Name), Width(measure => measure.Text), Width(measure => measure.Earlier ?? ""));
        if (earlier > 0) screen.Line($" {"".PadRight(name)}  {"this".PadLeft(value)}  {"earlier".PadLeft(Math.Max(earlier, 7))}");
        foreach (var measure in result.Measures)
        {
            screen.Line($" {measure.Name.PadRight(name)}  {measure.Text.PadLeft(value)}  {(measure.Earlier is null ? measure.Says : measure.Earlier.PadLeft(Math.Max(earlier, 7)))}");
        }
        foreach (var warning in result.Warnings.Except(lines.Told)) screen.Error.WriteLine("warning: " + warning);
        screen.Row("written", Words.Place(result.Json));
        screen.Row("page", Words.Place(result.Page));
        screen.Row("sheet", Words.Place(result.Sheet));
        return CommandLine.Done;

        int Width(Func<EvaluationMeasure, string> text) => result.Measures.Max(measure => text(measure).Length);
    }

    /// <summary>Warnings as they come, and one live line on a terminal; elsewhere a line now and then.</summary>
    private sealed class ProgressLine(Screen screen) : IProgress<EvaluateProgress>
    {
        private const int PlainEvery = 1000;
        private readonly List<string> told = [];
        private string last = "";

        public IReadOnlyList<string> Told => told;

        public void Report(EvaluateProgress value)
        {
            if (value.Warning is { } warning)
            {
                told.Add(warning);
                screen.EndLive();
                screen.Error.WriteLine("warning: " + warning);
                return;
            }
            var line = value.All == 0 ? $" {value.Doing}" : $" {value.Doing} {value.Done}/{value.All}";
            if (screen.IsTerminal) screen.Live(value.All == 0 ? line : $" {Words.Bar(value.Done, value.All, screen.LiveWidth - 40)}{line.TrimStart()}");
            else if (value.Done / PlainEvery > 0 && $"{value.Doing} {value.Done / PlainEvery}" is { } mark && mark != last)
            {
                last = mark;
                screen.Line(line);
            }
        }
    }
}
