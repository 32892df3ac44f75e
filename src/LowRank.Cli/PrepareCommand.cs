using System.CommandLine;
using System.Globalization;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora prepare</c>: captions, tags, masks and crops for a folder of pictures; what the four share.</summary>
internal static class PrepareCommand
{
    /// <summary>How many pictures a group of the summary names.</summary>
    private const int NamesShown = 10;

    public static Command Create(Screen screen) => new("prepare", "Get pictures ready for training: captions, tags, masks, crops.")
    {
        PrepareCaptionCommand.Create(screen),
        PrepareTagCommand.Create(screen),
        PrepareMaskCommand.Create(screen),
        PrepareCropCommand.Create(screen),
    };

    /// <summary>The folder that all four take.</summary>
    public static Argument<string> Folder() => new("FOLDER") { Description = "Folder with the pictures; its sub-folders, one level down, are looked into as well." };

    /// <summary>The option of all four that writes nothing.</summary>
    public static Option<bool> DryRun() => new("--dry-run") { Description = "Do everything but the writing, and say for each picture what would be written." };

    /// <summary>The option of those that write captions.</summary>
    public static Option<string> Trigger() => new("--trigger") { HelpName = "WORD", Description = "Put in front of every caption, such as a trigger word.", DefaultValueFactory = _ => "" };

    /// <summary>Runs one of the four and tells what became of the pictures.</summary>
    /// <param name="screen">Where to.</param>
    /// <param name="what">What is made, in the plural: "captions".</param>
    /// <param name="dryRun">Whether nothing is written.</param>
    /// <param name="next">What the recipe needs to use them; null for nothing.</param>
    /// <param name="run">The recipe.</param>
    public static int Run(Screen screen, string what, bool dryRun, string? next, Func<IProgress<PreparationProgress>, CancellationToken, PreparationResult> run)
    {
        using var interrupt = new Interrupt(screen, "finishing this picture, then stopping");
        var result = run(new Lines(screen, dryRun), interrupt.Token);
        screen.EndLive();
        screen.Row(dryRun ? "would be" : "written", string.Create(CultureInfo.InvariantCulture, $"{result.Made} {what} of {result.Found} pictures{(dryRun ? "; nothing was written" : "")}"));
        foreach (var group in result.Pictures.Where(picture => picture.SkippedBecause is not null).GroupBy(picture => (picture.SkippedBecause, picture.Kept)))
        {
            screen.Row(group.Key.Kept ? "kept" : "skipped", Group(group.Key.SkippedBecause!, [.. group.Select(picture => picture.Picture)], named: !group.Key.Kept));
        }
        foreach (var group in result.Pictures.Where(picture => picture.Note is not null).GroupBy(picture => picture.Note!))
        {
            screen.Row("look at", Group(group.Key, [.. group.Select(picture => picture.Picture)], named: true));
        }
        if (!result.Finished)
        {
            screen.Row("stopped", string.Create(CultureInfo.InvariantCulture, $"after {result.Pictures.Count} of {result.Found} pictures; the same command goes on with the others"));
            return CommandLine.Interrupted;
        }
        if (next is not null && !dryRun && result.Made > 0) screen.Row("next", next);
        return CommandLine.Done;
    }

    private static string Group(string reason, IReadOnlyList<string> names, bool named)
    {
        var text = string.Create(CultureInfo.InvariantCulture, $"{names.Count}: {reason}");
        if (!named) return text;
        var rest = names.Count > NamesShown ? string.Create(CultureInfo.InvariantCulture, $" and {names.Count - NamesShown} more") : "";
        return $"{text}: {string.Join(", ", names.Take(NamesShown))}{rest}";
    }

    /// <summary>One live line on a terminal, a line now and then elsewhere; in a dry run a line for each picture.</summary>
    private sealed class Lines(Screen screen, bool dryRun) : IProgress<PreparationProgress>
    {
        private const int PlainEvery = 100;

        public void Report(PreparationProgress value)
        {
            var text = $" {value.Number}/{value.Pictures}   {value.Picture.Picture}";
            if (dryRun && value.Picture.Made is { } made)
            {
                screen.EndLive();
                screen.Row(Words.Place(value.Picture.Files[^1]), "\n" + made);
            }
            else if (screen.IsTerminal) screen.Live(text);
            else if (value.Number % PlainEvery == 0) screen.Line(text);
        }
    }
}
