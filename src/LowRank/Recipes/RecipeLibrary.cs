using System.Text;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>A commented recipe to start from.</summary>
public sealed class StartingPoint
{
    internal StartingPoint(string name, string text) => (Name, Text) = (name, text);

    /// <summary>Such as <c>style</c>.</summary>
    public string Name { get; }

    /// <summary>What it is for: its first line.</summary>
    public string Summary => Text[..Text.IndexOf('\n')].TrimStart('#', ' ');

    /// <summary>The TOML, each line with what its value is for and where it comes from.</summary>
    public string Text { get; }
}

/// <summary>The recipes that come with the library (<c>Recipes/Library/*.toml</c>), as files for users to change.</summary>
public static class RecipeLibrary
{
    /// <summary>The order in which they are told of: what most people come for first.</summary>
    private static readonly string[] Names = ["style", "subject", "dreambooth", "textual-inversion", "pivotal", "inpainting", "sdxl", "small-card", "cpu"];

    /// <summary>All of them.</summary>
    public static IReadOnlyList<StartingPoint> All { get; } = [.. Names.Select(name => new StartingPoint(name, Read(name)))];

    /// <summary>The recipe of this name.</summary>
    /// <exception cref="OptionsException">There is none; the message lists those that are.</exception>
    public static StartingPoint Find(string name) => All.FirstOrDefault(item => item.Name == name)
        ?? throw new OptionsException($"there is no recipe \"{name}\" to start from{NearestName.Hint(name, Names)}; there are {string.Join(", ", Names)}");

    /// <summary>Writes a recipe to a file that is not there yet.</summary>
    /// <exception cref="OptionsException">There is no such recipe, or the file is there already.</exception>
    /// <exception cref="CheckpointException">The file cannot be written.</exception>
    public static void Write(string name, string path)
    {
        var recipe = Find(name);
        if (Path.Exists(path)) throw new OptionsException($"the recipe is not written: {path} is there already, and may hold your changes; name another file");
        WholeFile.Write(path, Encoding.UTF8.GetBytes(recipe.Text));
    }

    private static string Read(string name)
    {
        using var stream = typeof(RecipeLibrary).Assembly.GetManifestResourceStream($"LowRank.Recipes.Library.{name}.toml")!;
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }
}
