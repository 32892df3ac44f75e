using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora prepare mask</c>: arguments to <see cref="PrepareMasksOptions"/>.</summary>
internal static class PrepareMaskCommand
{
    public static Command Create(Screen screen)
    {
        var defaults = new PrepareMasksOptions { Folder = "", From = MaskFrom.Alpha };
        var folder = PrepareCommand.Folder();
        var from = new Option<MaskFrom>("--from") { HelpName = "alpha|background|text|boxes", Required = true, Description = "What masks are made from: the alpha channel, a plain background, a text (needs --model), or boxes of a detector (needs --boxes)." };
        var tolerance = new Option<int>("--tolerance") { HelpName = "N", Description = "background: how many of 255 levels a colour may be from the border's.", DefaultValueFactory = _ => defaults.Tolerance };
        var model = new Option<string?>("--model", "-m") { HelpName = "FILE", Description = "text: a segmenter (.onnx) such as CLIPSeg." };
        var tokenizer = new Option<string?>("--tokenizer") { HelpName = "FOLDER", Description = "text: its tokenizer. [default: the model's folder]" };
        var text = new Option<string?>("--text", "-t") { HelpName = "TEXT", Description = "text: what to look for. [default: each picture's caption]" };
        var temperature = new Option<double>("--temperature") { HelpName = "X", Description = "text: below 1 harder edges, above 1 softer.", DefaultValueFactory = _ => defaults.Temperature };
        var size = new Option<int?>("--model-size") { HelpName = "N", Description = "text: pixels to a side that the model gets. [default: what the model or preprocessor_config.json says]" };
        var boxes = new Option<string?>("--boxes") { HelpName = "FOLDER", Description = "boxes: label files as YOLO writes them, name.txt for each picture." };
        var blur = new Option<double>("--blur") { HelpName = "X", Description = "Soften the edges: radius of a Gaussian blur in pixels; 0 is off.", DefaultValueFactory = _ => defaults.Blur };
        var output = new Option<string?>("--output", "-o") { HelpName = "FOLDER", Description = "Folder for the masks. [default: beside the pictures, as name.mask.png]" };
        var overwrite = new Option<bool>("--overwrite") { Description = "Replace masks that are there." };
        var dryRun = PrepareCommand.DryRun();
        var command = new Command("mask", "Make a mask for each picture that has none: white is what training shall look at.")
        {
            folder, from, tolerance, model, tokenizer, text, temperature, size, boxes, blur, output, overwrite, dryRun,
        };
        command.SetAction(arguments =>
        {
            var options = new PrepareMasksOptions
            {
                Folder = arguments.GetValue(folder)!,
                From = arguments.GetValue(from),
                Tolerance = arguments.GetValue(tolerance),
                Model = arguments.GetValue(model),
                Tokenizer = arguments.GetValue(tokenizer),
                Text = arguments.GetValue(text),
                Temperature = arguments.GetValue(temperature),
                ModelSize = arguments.GetValue(size),
                Boxes = arguments.GetValue(boxes),
                Blur = arguments.GetValue(blur),
                Output = arguments.GetValue(output),
                Overwrite = arguments.GetValue(overwrite),
                DryRun = arguments.GetValue(dryRun),
            };
            var next = options.Output is { } masks ? $"in [[data]] of a recipe: mask = \"folder\", mask_folder = \"{Words.Place(masks)}\"" : "in [[data]] of a recipe: mask = \"sidecar\"";
            return PrepareCommand.Run(screen, "masks", options.DryRun, next, (progress, stop) => PrepareMasks.Run(options, progress, stop));
        });
        return command;
    }
}
