using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>
/// The layers that an adapter file is about, where no weights of its base are needed: those of a model that is named, or of the one among the published
/// models and the embedded base that the whole file fits. Names flattened with underscores cannot be taken apart without such a list. Owns the outline.
/// </summary>
internal sealed class AdapterBase : IDisposable
{
    private const string Embedded = "icons-64";
    private readonly ModelOutline outline;

    private AdapterBase(ModelOutline outline) => (this.outline, Names) = (outline, new ModuleNames(outline.Components));

    /// <summary>The model in words.</summary>
    public string Title => outline.Title;

    /// <summary>Its layers by every name that any convention has for them.</summary>
    public ModuleNames Names { get; }

    /// <summary>For one file; others may be fitted to the same layers.</summary>
    /// <param name="file">Open.</param>
    /// <param name="model">As for <see cref="FamilyDetector.Open"/>; null: found by the file's names and shapes.</param>
    /// <exception cref="CheckpointException">No such model, or none that the file fits as a whole: what stands against the likeliest is listed.</exception>
    public static AdapterBase Find(AdapterFile file, string? model)
    {
        if (model is not null) return new AdapterBase(ModelOutline.Of(model));
        var guess = BaseGuess.Of(file);
        foreach (var open in Known(guess).ToList())
        {
            var found = new AdapterBase(open());
            if (new AdapterFit(file, found.Names).IsWhole) return found;
            found.Dispose();
        }
        using var likeliest = new AdapterBase(Known(guess).First()());
        new AdapterFit(file, likeliest.Names).Require(new AdapterLoadOptions { Model = $"{likeliest.Title}, the likeliest of those that are known; name another with --model" });
        throw new InvalidOperationException("a file that fits in part was not refused");
    }

    /// <summary>The modules of another file by their layers; every one must have its own.</summary>
    /// <param name="file">Open.</param>
    /// <exception cref="CheckpointException">Something of it does not fit, or cannot be used.</exception>
    public IReadOnlyList<(FileModule Module, ModelLayer Layer)> Match(AdapterFile file)
    {
        var fit = new AdapterFit(file, Names);
        fit.Require(new AdapterLoadOptions { Model = Title, EmbeddingsAreUsed = true });
        return fit.Matched;
    }

    /// <summary>Every known model that the whole file fits, in words; the likeliest first.</summary>
    /// <param name="file">Open.</param>
    public static IReadOnlyList<string> TitlesOfFitting(AdapterFile file)
    {
        var titles = new List<string>();
        foreach (var open in Known(BaseGuess.Of(file)))
        {
            using var found = new AdapterBase(open());
            if (new AdapterFit(file, found.Names).IsWhole) titles.Add(found.Title);
        }
        return titles;
    }

    /// <inheritdoc/>
    public void Dispose() => outline.Dispose();

    /// <summary>The guessed one first.</summary>
    private static IEnumerable<Func<ModelOutline>> Known(BaseGuess? guess) =>
        PublishedModel.All.OrderByDescending(known => known.Title == guess?.Name).Select(known => (Func<ModelOutline>)(() => ModelOutline.Of(known))).Append(() => ModelOutline.Of(Embedded));
}
