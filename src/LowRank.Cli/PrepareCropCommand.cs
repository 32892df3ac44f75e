using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora prepare crop</c>: arguments to <see cref="PrepareCropsOptions"/>.</summary>
internal static class PrepareCropCommand
{
    public static Command Create(Screen screen)
    {
        var folder = PrepareCommand.Folder();
        var output = new Option<string>("--output", "-o") { HelpName = "FOLDER", Required = true, Description = "Folder for the crops, with their captions and masks; made when absent." };
        var by = new Option<CropBy>("--by") { HelpName = "mask|alpha|saliency|centre", Required = true, Description = "What a crop is laid around: the white of the mask file or of the alpha channel, what a segmenter finds (needs --model), or the middle." };
        var masks = new Option<string?>("--mask-folder") { HelpName = "FOLDER", Description = "mask: where the masks are. [default: beside the pictures, as name.mask.png]" };
        var model = new Option<string?>("--model", "-m") { HelpName = "FILE", Description = "saliency: a segmenter (.onnx) such as CLIPSeg." };
        var tokenizer = new Option<string?>("--tokenizer") { HelpName = "FOLDER", Description = "saliency: its tokenizer. [default: the model's folder]" };
        var text = new Option<string?>("--text", "-t") { HelpName = "TEXT", Description = "saliency: what to look for. [default: each picture's caption]" };
        var modelSize = new Option<int?>("--model-size") { HelpName = "N", Description = "saliency: pixels to a side that the model gets. [default: what the model or preprocessor_config.json says]" };
        var size = new Option<int?>("--size") { HelpName = "N", Description = "Pixels to a side of the crops. [default: the short side of each picture]" };
        var overwrite = new Option<bool>("--overwrite") { Description = "Replace crops that are there." };
        var dryRun = PrepareCommand.DryRun();
        var command = new Command("crop", "Cut pictures square around what matters in them, into another folder.")
        {
            folder, output, by, masks, model, tokenizer, text, modelSize, size, overwrite, dryRun,
        };
        command.SetAction(arguments =>
        {
            var options = new PrepareCropsOptions
            {
                Folder = arguments.GetValue(folder)!,
                Output = arguments.GetValue(output)!,
                By = arguments.GetValue(by),
                MaskFolder = arguments.GetValue(masks),
                Model = arguments.GetValue(model),
                Tokenizer = arguments.GetValue(tokenizer),
                Text = arguments.GetValue(text),
                ModelSize = arguments.GetValue(modelSize),
                Size = arguments.GetValue(size),
                Overwrite = arguments.GetValue(overwrite),
                DryRun = arguments.GetValue(dryRun),
            };
            return PrepareCommand.Run(screen, "crops", options.DryRun, $"in [[data]] of a recipe: folder = \"{Words.Place(options.Output)}\"", (progress, stop) => PrepareCrops.Run(options, progress, stop));
        });
        return command;
    }
}
