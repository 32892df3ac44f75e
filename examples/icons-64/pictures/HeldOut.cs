namespace LowRank.Examples.Icons;

/// <summary>
/// Which pictures are never trained on, by fixed rules: some emoji as a whole, and combinations of a thing with a colour that it does not have.
/// Everything here follows from names, so that other pictures of the same names fall on the same side.
/// </summary>
internal static class HeldOut
{
    /// <summary>One of so many names is held out.</summary>
    private const int OneOf = 40;

    private static readonly string[] PeopleWords = ["man", "woman", "men", "women", "person", "people", "boy", "girl", "male", "female"];

    /// <summary>
    /// Emoji that are held out: one of 40 names, drawn by the name itself without words for men and women (<see cref="FixedDraws"/>).
    /// All forms of one emoji fall on the same side, since they share that name. Never held out: families, the things of <see cref="ColourPairs"/>,
    /// and names that <see cref="Recalled"/> asks for.
    /// </summary>
    public static IReadOnlySet<int> Emoji(IReadOnlyList<Emoji> all)
    {
        var kept = Recalled(all).Select(one => BaseName(one.Caption)).ToHashSet(StringComparer.Ordinal);
        return all.Where(one => one.Subgroup != "family" && !kept.Contains(BaseName(one.Caption)) && !ColourPairs.Any(pair => pair.Names(one.Caption)) && Drawn(BaseName(one.Caption)))
            .Select(one => one.Index).ToHashSet();
    }

    /// <summary>The 100 emoji whose captions a base is asked to draw when it is measured: evenly spaced over those without country flags and families.</summary>
    public static IReadOnlyList<Emoji> Recalled(IReadOnlyList<Emoji> all)
    {
        var asked = all.Where(one => one.Subgroup is not ("country-flag" or "family")).ToList();
        var count = Math.Min(100, asked.Count);
        return [.. Enumerable.Range(0, count).Select(place => asked[place * asked.Count / count])];
    }

    /// <summary>Combinations of a colour and a thing that no caption of the training pictures holds: what a base has to put together by itself.</summary>
    public static readonly IReadOnlyList<ColourPair> ColourPairs =
    [
        new("blue", "apple"), new("purple", "banana"), new("red", "cat"), new("green", "dog"), new("pink", "elephant"), new("blue", "rose"),
        new("green", "car", "automobile"), new("orange", "whale"), new("purple", "frog"), new("yellow", "strawberry"), new("black", "tulip"),
        new("pink", "turtle"), new("red", "dolphin"), new("blue", "house", "houses"), new("green", "pizza"), new("purple", "bicycle", "bicycles"),
    ];

    /// <summary>
    /// Whether an emoji is not trained in a colour: two of the ten colours of each emoji, and every pair of <see cref="ColourPairs"/>.
    /// </summary>
    /// <param name="emoji">What.</param>
    /// <param name="colour">Place of the colour in <see cref="Recolouring.Targets"/>.</param>
    /// <param name="caption">The caption with the colour's word.</param>
    public static bool Colour(Emoji emoji, int colour, string caption) => (7 * emoji.Index + 3 * colour) % 5 == 0 || ColourPairs.Any(pair => pair.Holds(caption));

    /// <summary>Whether a picture that <see cref="Colour"/> holds out is made and kept for measuring: all of the pairs, and one of ten others.</summary>
    public static bool IsMeasured(string caption) => ColourPairs.Any(pair => pair.Holds(caption)) || FixedDraws.Below($"measured: {caption}", 10) == 0;

    /// <summary>A name without words for men and women, so that "man running" and "woman running" are one.</summary>
    public static string BaseName(string caption)
    {
        var words = caption.Split(' ').Except(PeopleWords).ToList();
        return words.Count == 0 ? caption : string.Join(' ', words);
    }

    private static bool Drawn(string name) => FixedDraws.Below($"held out: {name}", OneOf) == 0;
}

/// <summary>A colour that a thing is never trained in.</summary>
/// <param name="Colour">The word for it.</param>
/// <param name="Things">Words that captions have for the thing; the first one is for short.</param>
internal sealed record ColourPair(string Colour, params string[] Things)
{
    /// <summary>Whether a caption is about the thing, by whole words: "cat" is in "cat face", not in "caterpillar".</summary>
    public bool Names(string caption) => caption.Split(' ').Intersect(Things).Any();

    /// <summary>Whether a caption has both words.</summary>
    public bool Holds(string caption) => Names(caption) && caption.Split(' ').Contains(Colour);
}
