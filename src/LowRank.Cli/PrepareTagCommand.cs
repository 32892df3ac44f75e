using System.CommandLine;
using LowRank.Preparation;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora prepare tag</c>: arguments to <see cref="PrepareTagsOptions"/>.</summary>
internal static class PrepareTagCommand
{
    public static Command Create(Screen screen)
    {
        var defaults = new PrepareTagsOptions { Folder = "", Model = "" };
        var folder = PrepareCommand.Folder();
        var model = new Option<string>("--model", "-m") { HelpName = "FILE", Required = true, Description = "A tagger in the WD14 layout (.onnx), such as wd-vit-tagger-v3." };
        var tags = new Option<string?>("--tags") { HelpName = "FILE", Description = "Its list of tags. [default: selected_tags.csv beside the model]" };
        var general = new Option<double>("--general-threshold") { HelpName = "X", Description = "General tags from this probability on.", DefaultValueFactory = _ => defaults.GeneralThreshold };
        var character = new Option<double>("--character-threshold") { HelpName = "X", Description = "Names of characters from this probability on.", DefaultValueFactory = _ => defaults.CharacterThreshold };
        var underscores = new Option<bool>("--keep-underscores") { Description = "Write long_hair, not long hair." };
        var characters = new Option<bool>("--characters-first") { Description = "Put characters before all other tags." };
        var rating = new Option<RatingPlace?>("--rating") { HelpName = "none|first|last", Description = "Where the rating goes (general, sensitive, questionable, explicit). [default: none]" };
        var exclude = new Option<string[]>("--exclude", "-x") { HelpName = "TAG", Description = "A tag to leave out; may be repeated." };
        var trigger = PrepareCommand.Trigger();
        var overwrite = new Option<bool>("--overwrite") { Description = "Replace captions that are there." };
        var append = new Option<bool>("--append") { Description = "Add the tags that captions lack." };
        var dryRun = PrepareCommand.DryRun();
        var command = new Command("tag", "Write tags beside pictures that have no caption, as a tagger (ONNX, WD14 layout) sees them.")
        {
            folder, model, tags, general, character, underscores, characters, rating, exclude, trigger, overwrite, append, dryRun,
        };
        command.SetAction(arguments =>
        {
            var options = new PrepareTagsOptions
            {
                Folder = arguments.GetValue(folder)!,
                Model = arguments.GetValue(model)!,
                Tags = arguments.GetValue(tags),
                GeneralThreshold = arguments.GetValue(general),
                CharacterThreshold = arguments.GetValue(character),
                KeepUnderscores = arguments.GetValue(underscores),
                CharactersFirst = arguments.GetValue(characters),
                Rating = arguments.GetValue(rating) ?? defaults.Rating,
                Exclude = arguments.GetValue(exclude) ?? [],
                Trigger = arguments.GetValue(trigger)!,
                Overwrite = arguments.GetValue(overwrite),
                Append = arguments.GetValue(append),
                DryRun = arguments.GetValue(dryRun),
            };
            return PrepareCommand.Run(screen, "captions", options.DryRun, null, (progress, stop) => PrepareTags.Run(options, progress, stop));
        });
        return command;
    }
}
