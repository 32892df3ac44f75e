using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora generate</c>: arguments to <see cref="GenerateOptions"/>, and where the pictures went.</summary>
internal static class GenerateCommand
{
    public static Command Create(Screen screen)
    {
        var defaults = new GenerateOptions { Model = "", Prompt = "", Output = "" };   // one place for defaults: the record
        var model = new Option<string>("--model", "-m") { HelpName = "MODEL", Required = true, Description = "Base model: icons-64 (embedded), a folder in the diffusers layout, a checkpoint of one file (.safetensors, .ckpt), or org/name, a model of the hub." };
        var (files, use) = (new ModelFileArguments(), new AdapterArguments());
        var prompt = new Option<string>("--prompt", "-p") { HelpName = "TEXT", Required = true, Description = "What the pictures should show." };
        var output = new Option<string>("--output", "-o") { HelpName = "FOLDER", Required = true, Description = "Folder for the pictures; made when absent." };
        var negative = new Option<string?>("--negative-prompt") { HelpName = "TEXT", Description = "What they should not show." };
        var weights = new Option<PromptWeights?>("--prompt-weights") { HelpName = "a1111|none", Description = $"What brackets in prompts mean: a1111 weighs words, (word:1.3) or [word], and reads long prompts in chunks; none takes them as they stand. [default: {defaults.PromptWeights.ToString().ToLowerInvariant()}]" };
        var sampler = new Option<string>("--sampler") { HelpName = "NAME", Description = "Sampler: " + string.Join(", ", Generate.SamplerNames) + ".", DefaultValueFactory = _ => defaults.Sampler };
        var steps = new Option<int>("--steps") { HelpName = "N", Description = "Sampler steps.", DefaultValueFactory = _ => defaults.Steps };
        var guidance = new Option<double>("--guidance") { HelpName = "X", Description = "How strongly the prompt rules; 1 is off and halves the time.", DefaultValueFactory = _ => defaults.Guidance };
        var rescale = new Option<double>("--guidance-rescale") { HelpName = "X", Description = "Pulls guided pictures back to natural contrast; 0 off, 0.7 usual.", DefaultValueFactory = _ => defaults.GuidanceRescale };
        var clipSkip = new Option<int>("--clip-skip") { HelpName = "N", Description = "Layer of the text encoder that the model reads, from the end; 1 is the last.", DefaultValueFactory = _ => defaults.ClipSkip };
        var seed = new Option<long>("--seed") { HelpName = "N", Description = "Seed of the first picture; the next ones count up.", DefaultValueFactory = _ => defaults.Seed };
        var count = new Option<int>("--count", "-n") { HelpName = "N", Description = "How many pictures.", DefaultValueFactory = _ => defaults.Count };
        var width = new Option<int?>("--width") { HelpName = "N", Description = "Pixels; unset: what the model was made for, or the size of --image." };
        var height = new Option<int?>("--height") { HelpName = "N", Description = "Pixels; unset: what the model was made for, or the size of --image." };
        var image = new Option<string?>("--image") { HelpName = "FILE", Description = "A picture to start from." };
        var noise = new Option<double>("--noise-strength") { HelpName = "X", Description = "How much of --image is replaced, above 0 up to 1.", DefaultValueFactory = _ => defaults.NoiseStrength };
        var mask = new Option<string?>("--mask") { HelpName = "FILE", Description = "A picture that is white where --image shall be painted anew." };
        var precision = new Option<Training.Precision?>("--precision") { HelpName = "fp32|bf16", Description = $"Arithmetic of the model. [default: {defaults.Precision.ToString().ToLowerInvariant()}]" };

        var command = new Command("generate", "Make pictures with a model and any number of adapters.")
        {
            model, prompt, output, use.Adapters, use.AdapterFolder, use.Embeddings, use.EmbeddingFolder, negative, weights, sampler, steps, guidance, rescale, clipSkip, seed, count, use.Sweep, use.SweepAdapter, width, height, image, noise, mask, precision, use.AllowUnmatched,
        };
        files.AddTo(command);
        var hub = new HubArguments(command);
        command.SetAction(arguments => Run(screen, hub, arguments, new GenerateOptions
        {
            Model = arguments.GetValue(model)!,
            ModelFile = files.Of(arguments),
            Prompt = arguments.GetValue(prompt)!,
            Output = arguments.GetValue(output)!,
            Adapters = [.. (arguments.GetValue(use.Adapters) ?? []).Select(AdapterUse.Parse)],
            Embeddings = [.. (arguments.GetValue(use.Embeddings) ?? []).Select(EmbeddingUse.Parse)],
            AdapterFolder = arguments.GetValue(use.AdapterFolder),
            EmbeddingFolder = arguments.GetValue(use.EmbeddingFolder),
            Sweep = arguments.GetValue(use.Sweep) ?? [],
            SweepAdapter = arguments.GetValue(use.SweepAdapter),
            NegativePrompt = arguments.GetValue(negative),
            PromptWeights = arguments.GetValue(weights) ?? defaults.PromptWeights,
            Sampler = arguments.GetValue(sampler)!,
            Steps = arguments.GetValue(steps),
            Guidance = arguments.GetValue(guidance),
            GuidanceRescale = arguments.GetValue(rescale),
            ClipSkip = arguments.GetValue(clipSkip),
            Seed = arguments.GetValue(seed),
            Count = arguments.GetValue(count),
            Width = arguments.GetValue(width),
            Height = arguments.GetValue(height),
            Image = arguments.GetValue(image),
            NoiseStrength = arguments.GetValue(noise),
            Mask = arguments.GetValue(mask),
            Precision = arguments.GetValue(precision) ?? defaults.Precision,
            AllowUnmatched = arguments.GetValue(use.AllowUnmatched),
        }));
        return command;
    }

    private static int Run(Screen screen, HubArguments hub, ParseResult arguments, GenerateOptions options)
    {
        if (options.Validate().Count == 0)   // before a model is downloaded for nothing
        {
            var (model, files) = hub.Fetch(screen, arguments, options.Model, options.ModelFile);
            options = options with { Model = model!, ModelFile = files };
        }
        using var interrupt = new Interrupt(screen, "stopping; pictures already written stay");
        InspectMachine.RequireEngine();
        var result = Generate.Run(options, new ProgressLine(screen), interrupt.Token);
        screen.EndLive();
        foreach (var picture in result.Pictures) screen.Row("picture", Words.Place(picture));
        if (result.Grid is { } grid) screen.Row("grid", Words.Place(grid));
        return CommandLine.Done;
    }

    /// <summary>Warnings as they come, and one live line on a terminal.</summary>
    private sealed class ProgressLine(Screen screen) : IProgress<GenerateProgress>
    {
        public void Report(GenerateProgress value)
        {
            if (value.Warning is { } warning)
            {
                screen.EndLive();
                screen.Error.WriteLine("warning: " + warning);
            }
            else if (screen.IsTerminal)
            {
                screen.Live($" picture {value.Picture}/{value.Pictures}   step {value.Step}/{value.Steps}");
            }
        }
    }
}
