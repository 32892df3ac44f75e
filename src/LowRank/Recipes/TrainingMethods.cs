using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>Which record a recipe file is for.</summary>
public static class TrainingMethods
{
    /// <summary>The method that a recipe names; lora where it names none.</summary>
    /// <param name="path">The TOML file.</param>
    /// <param name="settings"><c>key=value</c> pairs that override the file.</param>
    /// <exception cref="OptionsException">There is no such recipe, it is no TOML, or there is no such method.</exception>
    public static TrainingMethod Of(string path, IReadOnlyList<string>? settings = null) => RunOptions.MethodOf(path, settings);
}
