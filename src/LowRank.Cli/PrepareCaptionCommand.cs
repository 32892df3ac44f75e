using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora prepare caption</c>: arguments to <see cref="PrepareCaptionsOptions"/>.</summary>
internal static class PrepareCaptionCommand
{
    public static Command Create(Screen screen)
    {
        var defaults = new PrepareCaptionsOptions { Folder = "", Encoder = "", Decoder = "", Vocabulary = "" };
        var folder = PrepareCommand.Folder();
        var encoder = new Option<string>("--encoder") { HelpName = "FILE", Required = true, Description = "The captioner's encoder (.onnx): pixel_values to hidden states." };
        var decoder = new Option<string>("--decoder") { HelpName = "FILE", Required = true, Description = "Its decoder (.onnx): input_ids and encoder_hidden_states to logits." };
        var vocabulary = new Option<string>("--vocabulary") { HelpName = "FILE", Required = true, Description = "Its words: vocab.txt or vocab.json." };
        var start = new Option<string?>("--start-token") { HelpName = "TOKEN", Description = "What a caption begins with: a word of the vocabulary, or a number. [default: a known mark]" };
        var end = new Option<string?>("--end-token") { HelpName = "TOKEN", Description = "What ends a caption. [default: a known mark]" };
        var size = new Option<int?>("--model-size") { HelpName = "N", Description = "Pixels to a side that the encoder gets. [default: what the model or preprocessor_config.json says]" };
        var length = new Option<int>("--max-length") { HelpName = "N", Description = "Most words and parts of words of a caption.", DefaultValueFactory = _ => defaults.MaxLength };
        var trigger = PrepareCommand.Trigger();
        var overwrite = new Option<bool>("--overwrite") { Description = "Replace captions that are there." };
        var append = new Option<bool>("--append") { Description = "Put the new caption behind one that is there." };
        var dryRun = PrepareCommand.DryRun();
        var command = new Command("caption", "Write captions in words beside pictures that have none, as a captioner (ONNX, BLIP-like) sees them.")
        {
            folder, encoder, decoder, vocabulary, start, end, size, length, trigger, overwrite, append, dryRun,
        };
        command.SetAction(arguments =>
        {
            var options = new PrepareCaptionsOptions
            {
                Folder = arguments.GetValue(folder)!,
                Encoder = arguments.GetValue(encoder)!,
                Decoder = arguments.GetValue(decoder)!,
                Vocabulary = arguments.GetValue(vocabulary)!,
                StartToken = arguments.GetValue(start),
                EndToken = arguments.GetValue(end),
                ModelSize = arguments.GetValue(size),
                MaxLength = arguments.GetValue(length),
                Trigger = arguments.GetValue(trigger)!,
                Overwrite = arguments.GetValue(overwrite),
                Append = arguments.GetValue(append),
                DryRun = arguments.GetValue(dryRun),
            };
            return PrepareCommand.Run(screen, "captions", options.DryRun, null, (progress, stop) => PrepareCaptions.Run(options, progress, stop));
        });
        return command;
    }
}
