using System.CommandLine;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora recipes</c>: the starting points that come with the library, listed, printed or written.</summary>
internal static class RecipesCommand
{
    public static Command Create(Screen screen)
    {
        var name = new Argument<string?>("NAME") { Arity = ArgumentArity.ZeroOrOne, Description = "Which recipe to print; without it all are listed." };
        var output = new Option<string?>("--output", "-o") { HelpName = "FILE", Description = "Write the recipe to this file instead of printing it; a file that is there is never written over." };
        var command = new Command("recipes", "List recipes to start from, print one, or write it to a file.") { name, output };
        command.SetAction(arguments => Run(screen, arguments.GetValue(name), arguments.GetValue(output)));
        return command;
    }

    private static int Run(Screen screen, string? name, string? output)
    {
        if (name is null)
        {
            if (output is not null)
            {
                screen.Error.WriteLine("--output needs the name of a recipe: lora recipes NAME --output FILE");
                return CommandLine.WrongUsage;
            }
            var width = RecipeLibrary.All.Max(recipe => recipe.Name.Length) + 2;
            foreach (var recipe in RecipeLibrary.All) screen.Row(recipe.Name, recipe.Summary, width);
            screen.Line();
            screen.Command("next", "lora recipes style --output my-recipe.toml");
        }
        else if (output is null) screen.Out.Write(RecipeLibrary.Find(name).Text);
        else
        {
            RecipeLibrary.Write(name, output);
            screen.Row("written", $"{Words.Place(output)}   change the lines marked with >>");
            screen.Command("next", $"lora train {Words.Quoted(Words.Place(output))} --dry-run");
        }
        return CommandLine.Done;
    }
}
